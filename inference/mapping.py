"""Scenes to maps: one map per scene, each whole or not there."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from data_prep.classes import Task
from inference.folders import ScenePath
from inference.masks import map_path, read_image, write_map
from inference.predictor import Predictor
from prototxt_gen.files import refuse_existing


@dataclass(frozen=True)
class Mapped:
    """What was done: number of scenes, of pixels, and seconds from the first read to the last write."""

    scenes: int
    pixels: int
    seconds: float

    @property
    def seconds_per_scene(self) -> float:
        """Mean time of a scene, reading and writing included."""
        return self.seconds / max(self.scenes, 1)


def refuse_existing_maps(scenes: Iterable[ScenePath], folder: Path, overwrite: bool) -> None:
    """Raise OutputError for the first map that exists, before time is spent on any."""
    for scene in scenes:
        refuse_existing(map_path(folder, scene.id), overwrite)


def map_scenes(
    predictor: Predictor,
    scenes: Sequence[ScenePath],
    folder: Path,
    task: Task,
    *,
    overwrite: bool = False,
    progress: Callable[[Iterable[ScenePath]], Iterable[ScenePath]] = iter,
) -> Mapped:
    """Predict `scenes` and write `<id>_mask.png` for each into `folder`.

    `progress` wraps the scenes (tqdm). Raises DataError at the first image that cannot be read and
    OutputError at a map that cannot be written; the maps before it stay.
    """
    pixels, begin = 0, perf_counter()
    for scene in progress(scenes):
        labels = predictor.labels(read_image(scene.path))
        write_map(map_path(folder, scene.id), labels, task, overwrite)
        pixels += labels.size
    return Mapped(len(scenes), pixels, perf_counter() - begin)
