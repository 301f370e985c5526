"""A run of several scenes: what one of them costs the others."""

import os
import signal
from dataclasses import dataclass
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from data_prep.read_options import ReadOptions
from inference.prediction import PredictionPlan, predict
from inference.process_group import ProcessGroup
from inference.scene_files import ScenePath


@dataclass(frozen=True)
class Crashing(ReadOptions):
    """Ends the process that reads a scene called bad, as a decoder does that meets damage."""

    def refuse_numbers_for(self, path) -> None:
        pass

    def stretch_of(self, pixels):
        if pixels.name.name.startswith("bad"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().stretch_of(pixels)


class Predictor:
    """Takes the scenes that it is to predict."""

    read_options = Crashing()
    trained = SimpleNamespace(task="land")

    def __init__(self) -> None:
        self.scenes = []

    def __call__(self, scene, advance) -> None:
        self.scenes.append(scene.id)


@pytest.mark.parametrize("bad", [(), ("bad1", "bad2")])
def test_an_image_at_which_its_reader_crashes_costs_its_own_map_alone(tmp_path, bad):
    ids = sorted(["a", "b", "z", *bad])
    scenes = []
    for id in ids:
        path = tmp_path / f"{id}_sat.png"
        cv2.imwrite(str(path), np.zeros((8, 9, 3), np.uint8))
        scenes.append(ScenePath(id, path))
    predictor, lines = Predictor(), []
    done = predict(ProcessGroup(), PredictionPlan(scenes, [72] * len(ids), 0), predictor, lines.append)
    assert predictor.scenes == ["a", "b", "z"]
    assert (done.scenes, done.pixels) == (3, 3 * 72)
    expected = [
        f"{tmp_path / id}_sat.png: is damaged (reading it ends in SIGSEGV); fetch or export the file again"
        for id in bad
    ]
    assert done.errors == lines == expected
