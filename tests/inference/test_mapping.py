"""Scenes to maps with a stub net."""

import cv2
import numpy as np
import pytest

from data_prep.classes import TASKS
from inference.folders import find_images
from inference.mapping import map_scenes, refuse_existing_maps
from inference.masks import read_labels
from inference.predictor import Predictor
from prototxt_gen.errors import DataError, OutputError

LAND = TASKS["land"]


class BrightnessNet:
    """Class = brightness in steps of 40, pixel by pixel."""

    side = 33

    def __call__(self, tiles):
        labels = np.clip(tiles[:, 0] // 40, 0, 5).astype(int)
        return np.moveaxis(np.eye(6, dtype=np.float32)[labels], -1, 1)


@pytest.fixture
def scenes(tmp_path):
    for number, size in enumerate([(20, 20), (50, 80)]):
        image = np.random.default_rng(number).integers(0, 6, size).astype(np.uint8) * 40 + 20
        cv2.imwrite(str(tmp_path / f"{number}_sat.png"), np.repeat(image[..., None], 3, axis=2))
    return find_images([tmp_path])


PREDICTOR = Predictor(BrightnessNet(), mean=(0, 0, 0), scale=1.0)


def test_each_scene_gets_its_map_of_its_own_size(scenes, tmp_path):
    done = map_scenes(PREDICTOR, scenes, tmp_path / "maps", LAND)
    assert (done.scenes, done.pixels) == (2, 20 * 20 + 50 * 80)
    assert done.seconds_per_scene == done.seconds / 2
    for scene in scenes:
        labels = read_labels(tmp_path / "maps" / f"{scene.id}_mask.png", LAND)
        np.testing.assert_array_equal(labels, cv2.imread(str(scene.path))[..., 0] // 40)


def test_a_broken_scene_leaves_the_maps_before_it_and_nothing_half_written(scenes, tmp_path):
    scenes[1].path.write_bytes(scenes[1].path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"1_sat\.png"):
        map_scenes(PREDICTOR, scenes, tmp_path / "maps", LAND)
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["0_mask.png"]


def test_existing_maps_are_refused_before_any_work(scenes, tmp_path):
    refuse_existing_maps(scenes, tmp_path / "maps", overwrite=False)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "1_mask.png").touch()
    with pytest.raises(OutputError, match=r"1_mask\.png"):
        refuse_existing_maps(scenes, tmp_path / "maps", overwrite=False)
    refuse_existing_maps(scenes, tmp_path / "maps", overwrite=True)
