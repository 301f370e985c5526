"""Colours become labels as DeepGlobe says, and colours without a class are named."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import DataError
from data_prep.classes import IGNORE, TASKS, check_labels, colours_from_labels, labels_from_mask

LAND, ROAD = TASKS["land"], TASKS["road"]
# From the data set's description, independent of the module's tables.
DEEPGLOBE = {
    (0, 255, 255): 0,
    (255, 255, 0): 1,
    (255, 0, 255): 2,
    (0, 255, 0): 3,
    (0, 0, 255): 4,
    (255, 255, 255): 5,
    (0, 0, 0): 255,
}


def plain(colour: tuple[int, int, int], size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


@pytest.mark.parametrize(("colour", "label"), DEEPGLOBE.items())
def test_each_deepglobe_colour_has_its_label_and_comes_back(colour, label):
    labels = labels_from_mask(plain(colour), LAND)
    assert labels.dtype == np.uint8
    assert (labels == label).all()
    assert (colours_from_labels(labels, LAND) == colour).all()


def test_channels_are_cut_at_128():
    mask = plain((0, 0, 255))
    mask[3, 4] = (0, 128, 255)
    mask[5, 6] = (127, 127, 255)
    expected = np.full((40, 40), 4)
    expected[3, 4] = 0
    assert (labels_from_mask(mask, LAND) == expected).all()


def test_road_masks_may_be_grey_or_rgb():
    grey = np.zeros((30, 30), np.uint8)
    grey[10:12] = 255
    grey[12] = 130  # a soft border
    expected = np.zeros((30, 30))
    expected[10:13] = 1
    assert (labels_from_mask(grey, ROAD) == expected).all()
    assert (labels_from_mask(np.dstack([grey] * 3), ROAD) == expected).all()


@pytest.mark.parametrize("quality", [75, 95])
def test_jpeg_noise_along_borders_is_tolerated(quality):
    mask = plain((255, 255, 0), 160)
    mask[40:100, 30:110] = (255, 0, 255)
    mask[110:, 80:] = (0, 255, 0)
    _, data = cv2.imencode(".jpg", mask[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    noisy = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    assert (noisy != mask).any()
    changed = labels_from_mask(noisy, LAND) != labels_from_mask(mask, LAND)
    assert changed.mean() < 0.03
    assert not changed[50:90, 40:100].any()


@pytest.mark.parametrize("colour", [(255, 128, 0), (128, 128, 128), (250, 160, 250)])
def test_an_area_in_a_foreign_colour_is_named(colour):
    mask = plain((255, 255, 0), 200)
    mask[100:112, 50:62] = colour
    with pytest.raises(DataError, match=r"a_mask\.png") as caught:
        labels_from_mask(mask, LAND, "a_mask.png")
    assert str(colour) in caught.value.fact


def test_one_pixel_of_pure_red_is_an_error_in_land_masks():
    mask = plain((255, 255, 0))
    mask[7, 7] = (255, 0, 0)
    with pytest.raises(DataError, match=r"RGB \(255, 0, 0\)"):
        labels_from_mask(mask, LAND)


def test_a_land_mask_given_as_road_mask_is_an_error():
    with pytest.raises(DataError, match="no road colour"):
        labels_from_mask(plain((255, 255, 0)), ROAD)


def test_a_mask_of_class_numbers_is_not_taken_for_black():
    with pytest.raises(DataError, match="largest value is 1"):
        labels_from_mask(np.eye(30, dtype=np.uint8), ROAD)


def test_many_blurred_pixels_are_an_error_even_where_thin():
    mask = plain((0, 255, 0))
    mask[::3] = (0, 160, 0)
    with pytest.raises(DataError, match=r"\(0, 160, 0\)"):
        labels_from_mask(mask, LAND)


def test_labels_are_counted_with_the_ignored_last():
    labels = np.array([[0, 0, 5], [255, 1, 5]], np.uint8)
    assert check_labels(labels, LAND, "x").tolist() == [2, 1, 0, 0, 0, 2, 1]


@pytest.mark.parametrize(("task", "label"), [(LAND, 6), (ROAD, 2), (LAND, 254)])
def test_a_label_outside_the_classes_is_refused(task, label):
    with pytest.raises(DataError, match=f"label {label} is no class"):
        check_labels(np.array([[0, label]], np.uint8), task, "x")
    with pytest.raises(DataError, match=f"label {label} is no class"):
        colours_from_labels(np.array([[0, label]], np.uint8), task)


def test_unknown_becomes_ignore_and_black_again():
    assert IGNORE == 255
    assert (colours_from_labels(np.full((2, 2), IGNORE, np.uint8), LAND) == 0).all()


@pytest.mark.real_data
def test_real_masks_agree_with_a_table_of_exact_colours():
    if "DFCNET_DATA" not in os.environ:
        pytest.skip("DFCNET_DATA is not set")
    folder = Path(os.environ["DFCNET_DATA"], "deepglobe/land_256/train")
    for path in sorted(folder.glob("*_mask.png"))[:20]:
        mask = cv2.imread(str(path))[..., ::-1]
        expected = np.full(mask.shape[:2], 77)
        for colour, label in DEEPGLOBE.items():
            expected[(mask == colour).all(axis=2)] = label
        assert (labels_from_mask(mask, LAND, path) == expected).all()
