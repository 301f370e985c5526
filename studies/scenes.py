"""Which scenes of a study train and which test, and their checksums: a test scene must never have trained."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.datasets import Dataset
from common.errors import DataError
from common.files import SHORT_CHECKSUM, read_bytes
from common.numbers import plural
from data_prep.scenes import Scene, find_scenes, image_ids
from data_prep.splits import PARTS, hold_out, make_split
from data_prep.subsets import Subset
from prototxt_gen.experiment import Experiment
from studies.plan import Study, TaskScenes


@dataclass(frozen=True)
class StudyScenes:
    """The scenes that train, by task, and those of the main task that test.

    `warnings` are lines, by task, on files and ids that are not scenes.
    """

    train: Mapping[str, list[Scene]]
    test: list[Scene]
    warnings: Mapping[str, list[str]]

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
    parts, warnings = {}, {}
    for task, settings in base.tasks.items():
        scenes = study.scenes[task]
        subset = Subset(settings.dataset, leave_out=scenes.leave_out and root / scenes.leave_out)
        parts[task] = _parts(scenes, subset, root, study.records.seed)
        warnings[task] = subset.warnings([root / folder for folder in scenes.images])
    _, test = parts[base.task_names()[0]]
    return StudyScenes({task: train for task, (train, _) in parts.items()}, test, warnings)


def _parts(scenes: TaskScenes, subset: Subset, root: Path, seed: int) -> tuple[list[Scene], list[Scene]]:
    """Return the scenes that train and that test, as build_lmdb.py and split_data.py would choose them."""
    folders, dataset = [root / folder for folder in scenes.images], subset.dataset
    train, test = find_scenes(folders, dataset, subset.left_out), []
    if scenes.hold_out is not None:
        listed = image_ids(folders, dataset)
        train, test = (hold_out(train, scenes.hold_out, name, listed) for name in PARTS)
    elif scenes.train is not None:
        train, test = _split(train, scenes.train, dataset, seed)
    if scenes.development is not None:
        if scenes.development >= len(train):
            fact = f"is {scenes.development} of {plural(len(train), 'scene')} that train"
            raise DataError("development", fact, f"give 1 to {len(train) - 1}")
        train, test = _split(train, len(train) - scenes.development, dataset, seed)
    return train, test


def _split(scenes: list[Scene], train: int, dataset: Dataset, seed: int) -> tuple[list[Scene], list[Scene]]:
    split = make_split(dataset.name, (scene.id for scene in scenes), train, seed)
    train, test = (split.select(scenes, name, dataset.name) for name in PARTS)
    return train, test


def _checksum(scene: Scene) -> str:
    whole = hashlib.sha256()
    for path in (scene.image, scene.mask):
        whole.update(hashlib.sha256(read_bytes(path)).digest())
    return whole.hexdigest()[:SHORT_CHECKSUM]
