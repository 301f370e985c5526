"""What is written can be read back; what is broken is named."""

import cv2
import numpy as np
import pytest

from common.errors import DataError, OutputError
from data_prep.classes import TASKS
from inference.masks import read_image, read_labels, write_map


@pytest.mark.parametrize("name, labels", [("land", [0, 1, 2, 3, 4, 5, 255]), ("road", [0, 1])])
def test_labels_survive_writing_and_reading(tmp_path, name, labels):
    written = np.random.default_rng(0).choice(labels, (31, 47)).astype(np.uint8)
    path = tmp_path / "new" / "folder" / "7_mask.png"
    write_map(path, written, TASKS[name])
    np.testing.assert_array_equal(read_labels(path, TASKS[name]), written)
    assert [p.name for p in path.parent.iterdir()] == ["7_mask.png"]


def test_the_colours_are_deepglobes(tmp_path):
    write_map(tmp_path / "a.png", np.array([[1, 4]], np.uint8), TASKS["land"])
    blue_green_red = cv2.imread(str(tmp_path / "a.png"))
    assert blue_green_red.tolist() == [[[0, 255, 255], [255, 0, 0]]]  # yellow field, blue water
    write_map(tmp_path / "b.png", np.array([[0, 1]], np.uint8), TASKS["road"])
    assert cv2.imread(str(tmp_path / "b.png")).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_an_image_is_read_as_bgr(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[[1, 2, 3]]], np.uint8))
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]


def test_a_map_that_exists_stays_without_overwrite(tmp_path):
    path = tmp_path / "7_mask.png"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="--overwrite"):
        write_map(path, np.zeros((2, 2), np.uint8), TASKS["land"])
    assert path.read_bytes() == b"old"
    write_map(path, np.zeros((2, 2), np.uint8), TASKS["land"], overwrite=True)
    assert read_labels(path, TASKS["land"]).shape == (2, 2)


def test_a_truncated_image_is_named(tmp_path):
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"a\.jpg"):
        read_image(path)
