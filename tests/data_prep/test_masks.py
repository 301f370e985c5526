"""Colours and numbers become labels as the data set says, and what has no class is named."""

import os
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.datasets import IGNORE, Dataset, read_dataset
from common.errors import DataError
from data_prep.masks import (
    _mixtures,
    check_labels,
    colours_from_labels,
    labels_from_colours,
    labels_from_numbers,
)
from tests.datasets import LAND, ROAD, changed

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
    labels = labels_from_colours(plain(colour), LAND)
    assert labels.dtype == np.uint8
    assert (labels == label).all()
    assert (colours_from_labels(labels, LAND) == colour).all()


def test_a_nearly_exact_colour_is_its_class_and_a_mixed_one_is_ignored():
    mask = plain((0, 0, 255))
    mask[3, 4] = (10, 250, 240)  # urban
    mask[5, 6] = (0, 128, 255)  # half water, half urban
    mask[7, 8] = (64, 0, 191)
    expected = np.full((40, 40), 4)
    expected[3, 4], expected[5, 6] = 0, 255
    assert (labels_from_colours(mask, LAND) == expected).all()
    mask[7, 8] = (65, 0, 255)  # beyond the tolerance of 64
    expected[7, 8] = 255
    assert (labels_from_colours(mask, LAND) == expected).all()


def test_soft_borders_of_roads_are_cut_at_128():
    grey = np.zeros((30, 30), np.uint8)
    grey[10:12] = 255
    grey[12], grey[13] = 130, 127
    expected = np.zeros((30, 30))
    expected[10:13] = 1
    assert (labels_from_colours(np.dstack([grey] * 3), ROAD) == expected).all()


@pytest.mark.parametrize("quality", [75, 95])
def test_jpeg_noise_along_borders_is_tolerated(quality):
    mask = plain((255, 255, 0), 160)
    mask[40:100, 30:110] = (255, 0, 255)
    mask[110:, 80:] = (0, 255, 0)
    _, data = cv2.imencode(".jpg", mask[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    noisy = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    assert (noisy != mask).any()
    changed = labels_from_colours(noisy, LAND) != labels_from_colours(mask, LAND)
    assert changed.mean() < 0.03
    assert not changed[50:90, 40:100].any()


@pytest.mark.parametrize("colour", [(255, 128, 0), (128, 128, 128), (250, 160, 250)])
def test_an_area_in_a_foreign_colour_is_named(colour):
    mask = plain((255, 255, 0), 200)
    mask[100:112, 50:62] = colour
    with pytest.raises(DataError, match=r"a_mask\.png") as caught:
        labels_from_colours(mask, LAND, "a_mask.png")
    assert str(colour) in caught.value.fact


def test_one_pixel_of_pure_red_is_an_error_in_land_masks():
    mask = plain((255, 255, 0))
    mask[7, 7] = (255, 0, 0)
    with pytest.raises(DataError, match=r"RGB \(255, 0, 0\)"):
        labels_from_colours(mask, LAND)


def test_a_colour_beside_exact_ones_is_foreign_however_few_its_pixels():
    mask = plain((255, 255, 0))
    mask[7, 7] = (255, 128, 0)  # could be a mixture, but nothing here is compressed
    with pytest.raises(DataError, match=r"RGB \(255, 128, 0\) is not a colour of deepglobe_land \(1 pixel"):
        labels_from_colours(mask, LAND)


def test_a_land_mask_given_as_road_mask_is_an_error():
    with pytest.raises(DataError, match="is not a colour of deepglobe_road"):
        labels_from_colours(plain((255, 255, 0)), ROAD)


def test_a_mask_of_class_numbers_is_not_taken_for_black():
    with pytest.raises(DataError, match="largest value is 1, as in class numbers; give the classes of"):
        labels_from_colours(np.dstack([np.eye(30, dtype=np.uint8)] * 3), ROAD)


def test_many_blurred_pixels_are_an_error_even_where_thin():
    mask = plain((0, 255, 0))
    mask[::3] = (0, 160, 0)
    mask[1, 1] = (0, 250, 0)
    with pytest.raises(DataError, match=r"\(0, 160, 0\)"):
        labels_from_colours(mask, LAND)


ORDINARY = changed(
    LAND,
    tolerance=24,
    ignore={"colours": [(10, 10, 10)]},
    classes=[
        {"name": "meadow", "colour": (120, 190, 70)},
        {"name": "lake", "colour": (30, 60, 140)},
        {"name": "roof", "colour": (180, 60, 40)},
        {"name": "between", "colour": (75, 125, 105)},  # half meadow, half lake
    ],
)
COLOURS = np.array([*ORDINARY.palette, (10, 10, 10)], np.uint8)


def jpeg(mask: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", mask[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy()


def blocks(seed: int) -> np.ndarray:
    """Return labels 0 to 3 and 255 in blocks of 40 pixels."""
    known = np.random.default_rng(seed).choice([0, 1, 2, 3, 255], (8, 8))
    return np.kron(known, np.ones((40, 40), int)).astype(np.uint8)


def test_ordinary_colours_come_back_exactly():
    labels = blocks(1)
    assert (labels_from_colours(colours_from_labels(labels, ORDINARY), ORDINARY) == labels).all()


@pytest.mark.parametrize("quality", [80, 95])
@pytest.mark.parametrize("seed", range(4))
def test_a_compressed_mask_has_right_or_ignored_pixels_and_never_a_third_class(quality, seed):
    """The class `between` has the colour that a border of meadow and lake takes."""
    labels = blocks(seed)
    found = labels_from_colours(jpeg(colours_from_labels(labels, ORDINARY), quality), ORDINARY)
    wrong = (found != labels) & (found != 255)
    # What is wrong lies on a border, where a pixel may be taken for its neighbour, but for nothing else.
    for y, x in zip(*np.nonzero(wrong), strict=True):
        around = labels[max(y - 8, 0) : y + 9, max(x - 8, 0) : x + 9]
        assert found[y, x] in around
    straight = np.full((80, 80), 0, np.uint8)
    straight[:, 43:] = 1
    found = labels_from_colours(jpeg(colours_from_labels(straight, ORDINARY), quality), ORDINARY)
    assert {*np.unique(found)} <= {0, 1, 255}
    assert (found == 255).mean() < 0.1


def by_brute_force(mask: np.ndarray) -> np.ndarray:
    """Return each pixel's nearest colour by the worst channel, 255 beyond the tolerance."""
    distance = np.abs(mask[..., None, :].astype(int) - COLOURS.astype(int)).max(axis=-1)
    nearest = np.array([0, 1, 2, 3, 255])[distance.argmin(axis=-1)]
    return np.where(distance.min(axis=-1) <= 24, nearest, 255)


def test_away_from_borders_labels_are_those_of_the_nearest_colour():
    rng = np.random.default_rng(5)
    mask = colours_from_labels(np.full((60, 60), 2, np.uint8), ORDINARY).astype(int)
    mask = np.clip(mask + rng.integers(-20, 21, mask.shape), 0, 255).astype(np.uint8)
    mask[10, ::7] = np.array([180, 100, 40])
    assert (labels_from_colours(mask, ORDINARY) == by_brute_force(mask)).all()


def test_254_classes_come_back_from_their_colours():
    grid = [(r, g, b) for r in range(0, 256, 40) for g in range(0, 256, 40) for b in range(0, 256, 40)]
    classes = [{"name": f"c{k}", "colour": colour} for k, colour in enumerate(grid[1:255])]
    many = changed(LAND, tolerance=19, classes=classes, ignore={})
    labels = np.arange(254, dtype=np.uint8).reshape(2, 127).repeat(3, axis=0)
    assert (labels_from_colours(colours_from_labels(labels, many), many) == labels).all()


NUMBERS = {-3: 4, 1: 0, 40: 1, 41: 1, 70000: 255}


def test_numbers_become_labels_and_nodata_is_ignored():
    values = np.array([[1, 40, 41], [-3, 70000, 99]], np.int32)
    nodata = np.array([[False, False, False], [False, False, True]])
    labels = labels_from_numbers(values, NUMBERS, "a.tif", "add {value}", nodata)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 1, 1], [4, 255, 255]]


def test_a_number_without_a_class_is_named():
    with pytest.raises(DataError, match=r"a\.tif: holds 7 \(2 pixels .*\); add 7 somewhere"):
        labels_from_numbers(np.array([[1, 7, 7]], np.uint8), NUMBERS, "a.tif", "add {value} somewhere")


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
def test_integers_of_every_width_give_the_same_labels(kind):
    least, most = max(np.iinfo(kind).min, -(2**31)), min(np.iinfo(kind).max, 2**32 - 1)
    table = {least: 4, 7: 0, most: 255}
    values = np.array([[least, 7, most, 8]], kind)
    nodata = np.array([[False, False, False, True]])
    assert labels_from_numbers(values, table, "a.tif", "", nodata).tolist() == [[4, 0, 255, 255]]
    with pytest.raises(DataError, match=r"a\.tif: holds 8 \(1 pixel"):
        labels_from_numbers(values, table, "a.tif", "")


def test_labels_are_counted_with_the_ignored_last():
    labels = np.array([[0, 0, 5], [255, 1, 5]], np.uint8)
    assert check_labels(labels, LAND, "x").tolist() == [2, 1, 0, 0, 0, 2, 1]


@pytest.mark.parametrize(("task", "label"), [(LAND, 6), (ROAD, 2), (LAND, 254)])
def test_a_label_outside_the_classes_is_refused(task, label):
    with pytest.raises(DataError, match=f"label {label} is not a class"):
        check_labels(np.array([[0, label]], np.uint8), task, "x")
    with pytest.raises(DataError, match=f"label {label} is not a class"):
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
        assert (labels_from_colours(mask, LAND, path) == expected).all()


def test_a_colour_that_was_made_up_for_a_class_of_values_means_nothing_in_a_true_mask(tmp_path):
    text = """
title = "Mixed"
images = ["*.tif"]
masks = ["*.png"]
bands = ["red", "green", "blue"]
resize = [1, 1]
classes = [{ name = "wheat", colour = [200, 180, 40] }, { name = "soil", values = [7] }]
"""
    (tmp_path / "mixed.toml").write_text(text)
    mixed = read_dataset("mixed.toml", tmp_path)
    mask = np.full((4, 4, 3), mixed.palette[1], np.uint8)
    with pytest.raises(DataError, match="is not a colour of mixed"):
        labels_from_colours(mask, mixed)
    assert (labels_from_colours(mask, mixed, is_map=True) == 1).all()


def areas(classes: int, seed: int, side: int = 128) -> np.ndarray:
    """Return labels in areas of all shapes."""
    noise = np.random.default_rng(seed).normal(size=(classes, side, side))
    return np.stack([cv2.GaussianBlur(field, (0, 0), 6) for field in noise]).argmax(axis=0).astype(np.uint8)


def data_set_of_random_colours(seed: int) -> Dataset:
    rng, colours = np.random.default_rng(seed), []
    while len(colours) < 6:
        colour = rng.integers(0, 256, 3)
        if all(np.abs(colour - other).max() > 48 for other in colours):
            colours.append(colour)
    classes = [{"name": f"c{k}", "colour": colour.tolist()} for k, colour in enumerate(colours)]
    return changed(LAND, tolerance=24, ignore={}, classes=classes)


@pytest.mark.parametrize("seed", [None, 0, 1, 4, 5])
def test_a_mask_shrunk_by_averaging_has_no_class_that_none_of_its_pixels_had(seed):
    dataset = LAND if seed is None else data_set_of_random_colours(seed)
    for number in range(3):
        labels = areas(6, number)
        small = cv2.resize(colours_from_labels(labels, dataset), (64, 64), interpolation=cv2.INTER_AREA)
        found = labels_from_colours(small, dataset)
        four = labels.reshape(64, 2, 64, 2).transpose(0, 2, 1, 3).reshape(64, 64, 4)
        assert ((four == found[..., None]).any(axis=2) | (found == IGNORE)).all()
        inside = (four == four[..., :1]).all(axis=2)
        assert (found == four[..., 0])[inside].mean() > 0.75  # the rest is ignored near borders


@pytest.mark.parametrize("tolerance", [0, 24, 64])
def test_mixtures_of_colours_are_those_that_trying_all_shares_finds(tolerance):
    rng = np.random.default_rng(tolerance)
    colours = tuple(map(tuple, rng.choice([0, 3, 64, 128, 130, 255], (9, 3)).tolist()))
    colours = tuple(dict.fromkeys(colours))
    room = 255 * (tolerance + 1)

    def mixed(colour, first, second) -> bool:
        return any(
            all(abs(k * a + (255 - k) * b - 255 * c) <= room for c, a, b in zip(*three, strict=True))
            for three in [(colour, first, second)]
            for k in range(256)
        )

    expected = [
        [colours.index(colour), colours.index(first), colours.index(second)]
        for colour in colours
        for first, second in combinations(colours, 2)
        if colour not in (first, second) and mixed(colour, first, second)
    ]
    assert 0 < len(expected) < len(colours) * 28
    assert _mixtures(colours, tolerance).tolist() == expected
