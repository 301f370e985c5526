"""Which scenes of a study train and which test, and their checksums: a test scene must never have trained."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.datasets import Dataset
from common.errors import DataError
from common.files import read_bytes
from data_prep.scenes import Scene, find_scenes, image_ids
from data_prep.splits import hold_out, make_split
from data_prep.subsets import read_leave_out
from prototxt_gen.experiment import Experiment
from studies.plan import Study, TaskScenes


@dataclass(frozen=True)
class StudyScenes:
    """The scenes that train, by task, and those of the main task that test."""

    train: Mapping[str, list[Scene]]
    test: list[Scene]

    def checksums(self) -> dict[str, dict[str, str]]:
        """Return for each part the first 16 hexadecimal digits of each scene's SHA-256, image and mask."""
        parts = {**self.train, "test": self.test}
        return {part: {scene.id: _checksum(scene) for scene in scenes} for part, scenes in parts.items()}


def choose_study_scenes(study: Study, base: Experiment, root: Path) -> StudyScenes:
    """Choose the scenes in the folders below `root`: all train but those of the main task that test.

    Raises DataError for a folder that is missing or holds something else, and where a part has no scene.
    """
    for folder in (folder for scenes in study.scenes.values() for folder in scenes.images):
        if not (root / folder).is_dir():
            raise DataError(root / folder, "is not a folder", "say by --data where the data stands")
    parts = {
        task: _parts(study.scenes[task], settings.dataset, root, study.records.seed)
        for task, settings in base.tasks.items()
    }
    _, test = parts[base.task_names()[0]]
    return StudyScenes({task: train for task, (train, _) in parts.items()}, test)


def _parts(scenes: TaskScenes, dataset: Dataset, root: Path, seed: int) -> tuple[list[Scene], list[Scene]]:
    """Return the scenes that train and that test, as build_lmdb.py and split_data.py would choose them."""
    folders = [root / folder for folder in scenes.images]
    left_out = read_leave_out(scenes.leave_out and root / scenes.leave_out)
    available = find_scenes(folders, dataset, left_out)
    if scenes.hold_out is not None:
        listed = image_ids(folders, dataset)
        return tuple(hold_out(available, scenes.hold_out, part, listed) for part in ("train", "test"))
    if scenes.train is None:
        return available, []
    split = make_split(dataset.name, (scene.id for scene in available), scenes.train, seed)
    return tuple(split.select(available, part, folders[0]) for part in ("train", "test"))


def _checksum(scene: Scene) -> str:
    whole = hashlib.sha256()
    for path in (scene.image, scene.mask):
        whole.update(hashlib.sha256(read_bytes(path)).digest())
    return whole.hexdigest()[:16]
