"""Small pictures hold means of the scene, whichever file it stands in and however it is cut into strips."""

import cv2
import numpy as np
import pytest

from evaluation import thumbnails
from evaluation.thumbnails import read_centre_crop, read_thumbnail
from tests.data_prep.test_scene_pixels import write
from tests.datasets import LAND

IMAGE = np.random.default_rng(8).integers(1, 256, (240, 480, 3), np.uint8)  # RGB


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_each_pixel_is_the_mean_of_those_it_stands_for(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(thumbnails, "STRIP", 7)
    path = tmp_path / f"1_sat.{kind}"
    if kind == "png":
        cv2.imwrite(str(path), IMAGE[..., ::-1])
    else:
        write(path, IMAGE.transpose(2, 0, 1))
    small, shape = read_thumbnail(path, 120, LAND)
    assert shape == (240, 480)
    means = IMAGE.reshape(60, 4, 120, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small, means, atol=0.51)
    np.testing.assert_array_equal(read_thumbnail(path, 480, LAND)[0], IMAGE)


def test_no_data_is_black(tmp_path):
    bands = IMAGE.transpose(2, 0, 1).copy()
    bands[:, :120] = 0
    write(tmp_path / "1_sat.tif", bands, nodata=0)
    small, _ = read_thumbnail(tmp_path / "1_sat.tif", 120, LAND)
    assert not small[:30].any()
    assert small[30:].all()


def test_the_middle_of_an_image():
    image = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    np.testing.assert_array_equal(read_centre_crop(image, 5), image[1:6, 2:7])
    small = read_centre_crop(image, 8)
    np.testing.assert_array_equal(small[:7], image[:, :8])
    np.testing.assert_array_equal(small[7], image[6, :8])  # mirrored
