"""Which scenes of a study train and which test, and their checksums: a test scene must never have trained."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import DataError
from data_prep.decoding import read_bytes
from data_prep.leave_out import read_leave_out
from data_prep.scenes import Scene, find_scenes, image_ids
from data_prep.splits import hold_out, make_split
from studies.plan import Data


@dataclass(frozen=True)
class StudyScenes:
    """The land scenes that train and that test, and the road scenes that train."""

    land_train: list[Scene]
    land_test: list[Scene]
    road: list[Scene]

    def checksums(self) -> dict[str, dict[str, str]]:
        """Return for each part the first 16 hexadecimal digits of each scene's SHA-256, image and mask."""
        return {part: {scene.id: _checksum(scene) for scene in scenes} for part, scenes in vars(self).items()}


def choose_study_scenes(data: Data, root: Path) -> StudyScenes:
    """Choose the scenes in the folders below `root`: every K-th land scene tests, or all but `land_train`.

    Raises DataError for a folder that is missing or holds something else, and where a part has no scene.
    """
    for folder in (data.land, *data.road):
        if not (root / folder).is_dir():
            raise DataError(root / folder, "is no folder", "say by --data where the data stands")
    left_out = [path and read_leave_out(root / path) for path in (data.land_leave_out, data.road_leave_out)]
    land = find_scenes([root / data.land], left_out[0] or ())
    road = find_scenes([root / folder for folder in data.road], left_out[1] or ())
    if data.hold_out is not None:
        listed = image_ids([root / data.land])
        parts = (hold_out(land, data.hold_out, part, listed) for part in ("train", "test"))
    else:
        parts = (_split(land, "land", data.land_train, data.seed, part) for part in ("train", "test"))
    if data.road_train is not None:
        road = _split(road, "road", data.road_train, data.seed, "train")
    return StudyScenes(*parts, road)


def _split(scenes: Sequence[Scene], task: str, train: int, seed: int, part: str) -> list[Scene]:
    """Return the part that tools/split_data.py would give."""
    split = make_split(task, (scene.id for scene in scenes), train, seed)
    return split.pick(scenes, part, scenes[0].image.parent)


def _checksum(scene: Scene) -> str:
    whole = hashlib.sha256()
    for path in (scene.image, scene.mask):
        whole.update(hashlib.sha256(read_bytes(path)).digest())
    return whole.hexdigest()[:16]
