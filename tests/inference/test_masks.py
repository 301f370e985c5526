"""Maps that are written can be read back, and stand in the data set's colours."""

import cv2
import numpy as np
import pytest

from common.errors import OutputError
from inference.scene_maps import write_map
from tests.datasets import DATASETS, LAND, ROAD, read_map


@pytest.mark.parametrize("name, labels", [("land", [0, 1, 2, 3, 4, 5, 255]), ("road", [0, 1])])
def test_labels_survive_writing_and_reading(tmp_path, name, labels):
    written = np.random.default_rng(0).choice(labels, (31, 47)).astype(np.uint8)
    path = tmp_path / "new" / "folder" / "7_mask.png"
    write_map(path, written, DATASETS[name])
    np.testing.assert_array_equal(read_map(path, DATASETS[name]), written)
    assert [p.name for p in path.parent.iterdir()] == ["7_mask.png"]


def test_the_colours_are_deepglobes(tmp_path):
    write_map(tmp_path / "a.png", np.array([[1, 4]], np.uint8), LAND)
    blue_green_red = cv2.imread(str(tmp_path / "a.png"))
    assert blue_green_red.tolist() == [[[0, 255, 255], [255, 0, 0]]]  # yellow field, blue water
    write_map(tmp_path / "b.png", np.array([[0, 1]], np.uint8), ROAD)
    assert cv2.imread(str(tmp_path / "b.png")).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_a_map_that_exists_stays_without_overwrite(tmp_path):
    path = tmp_path / "7_mask.png"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="--overwrite"):
        write_map(path, np.zeros((2, 2), np.uint8), LAND)
    assert path.read_bytes() == b"old"
    write_map(path, np.zeros((2, 2), np.uint8), LAND, overwrite=True)
    assert read_map(path, LAND).shape == (2, 2)
