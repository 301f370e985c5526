"""A run's folder as train.py leaves it, with scenes, maps and scores, made without training."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from evaluation.evaluation import evaluate
from evaluation.score_files import as_numbers
from inference.scene_files import pair_masks
from inference.scene_maps import write_map
from prototxt_gen.experiment import read_experiment
from tests.conftest import TINY
from tests.datasets import LAND

SIZE = (60, 90)  # height, width


@dataclass(frozen=True)
class FinishedRun:
    """Where things stand."""

    folder: Path
    scenes: Path
    maps: Path
    scores: Path

    def arguments(self) -> list:
        """Return the arguments of report.py."""
        folders = ["--images", self.scenes, "--truth", self.scenes, "--pred", self.maps]
        return [self.folder, "--scores", self.scores, *folders]


def make_finished_run(folder: Path) -> FinishedRun:
    """Make a run of 6 iterations and three scenes of bands of classes; barren is in none."""
    run = FinishedRun(folder / "run", folder / "scenes", folder / "maps", folder / "score.json")
    run.folder.mkdir(parents=True)
    (folder / "tiny.toml").write_text(TINY)
    experiment = read_experiment(folder / "tiny.toml").model_dump(mode="json", exclude_none=True)
    (run.folder / "experiment.json").write_text(json.dumps(experiment))
    entries = [{"start": 0, "seed": 3, "experiment": "tiny"}]
    for at, loss in ((2, 1.5), (4, 1.25), (6, 0.75)):
        entry = {"iteration": at, "loss": {"land": loss, "road": loss / 2}, "lr": 0.05 - at / 200}
        entries.append(entry | {"images_per_second": 10.0 + at, "memory": 3 << 29})
    (run.folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (run.folder / "weights.caffemodel").write_bytes(b"weights")
    run.scenes.mkdir()
    random = np.random.default_rng(4)
    for number in range(3):
        truth = np.repeat(random.integers(0, 5, (1, 9), np.uint8), 10, axis=1).repeat(SIZE[0], axis=0)
        truth[:5, :5] = 255
        mapped = np.where(random.random(SIZE) < 0.7, truth, random.integers(0, 5, SIZE)).astype(np.uint8)
        image = random.integers(0, 256, (*SIZE, 3), np.uint8)
        cv2.imwrite(str(run.scenes / f"{number}_sat.jpg"), image)
        write_map(run.scenes / f"{number}_mask.png", truth, LAND)
        write_map(run.maps / f"{number}_mask.png", np.where(mapped == 255, 0, mapped), LAND)
    numbers = as_numbers(evaluate(pair_masks(run.scenes, run.maps, LAND), LAND))
    run.scores.write_text(json.dumps(numbers))
    return run
