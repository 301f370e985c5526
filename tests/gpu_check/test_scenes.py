"""A training on scenes that Pillow reads."""

from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from common.errors import DataError
from gpu_check import scenes, training
from gpu_check.deadline import Deadline
from gpu_check.nets import experiment

LONG = 280  # seconds: within a test's time


def colours(task: str) -> tuple[tuple[int, int, int], ...]:
    return experiment(training.DEMO).tasks[task].dataset.palette


def test_labels_are_those_of_the_masks_colours_cut_at_128():
    mask = np.array([[[0, 255, 255], [255, 255, 130]], [[127, 0, 200], [0, 0, 0]]], np.uint8)
    assert scenes.labels_of(mask, colours("land")).tolist() == [[0, 5], [4, 255]]


def write_scenes(folder: Path, count: int) -> None:
    rng = np.random.default_rng(3)
    for task in ("land", "road"):
        palette = colours(task)
        (folder / task).mkdir(parents=True)
        for number in range(count):
            labels = np.kron(rng.integers(0, len(palette), (4, 4)), np.ones((32, 32), int))
            mask = np.array(palette, np.uint8)[labels]
            Image.fromarray(mask).save(folder / task / f"{number}_mask.png")
            image = mask // 2 + rng.integers(0, 90, mask.shape, np.uint8)
            Image.fromarray(image).save(folder / task / f"{number}_sat.jpg")


SMALL_CROP = ("input.crop=65", "solver.batch_size=4", "solver.images_per_pass=2")


@pytest.mark.caffe
def test_scenes_are_trained_on_and_every_fifth_one_is_held_out(tmp_path):
    write_scenes(tmp_path / "scenes", 5)
    row = scenes.train(tmp_path / "scenes", tmp_path, training.DEMO, [], 5, Deadline(LONG), *SMALL_CROP)
    assert row.ok, row.words
    assert row.numbers["iterations"] >= 2 * scenes.EVERY
    assert 0 <= row.numbers["miou"][-1] <= 1
    records = {name: entries(tmp_path / "data" / name) for name in ("land", "validation", "road")}
    assert records == {"land": 4, "validation": 1, "road": 5}


def entries(database: Path) -> int:
    with lmdb.open(str(database), readonly=True, lock=False) as environment:
        return environment.stat()["entries"]


def test_a_folder_without_scenes_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no <id>_sat\.jpg"):
        scenes.write_databases(experiment(training.DEMO), tmp_path, tmp_path / "out", 256)
