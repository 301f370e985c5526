"""DeepGlobe folders: pairs of `<id>_sat.jpg` and `<id>_mask.png`, found, split by id, read strictly."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_prep.classes import Task, labels_from_mask
from data_prep.decoding import decode, read_bytes
from prototxt_gen.errors import DataError

IMAGE_ENDINGS = ("_sat.jpg", "_sat.jpeg", "_sat.png")
MASK_ENDING = "_mask.png"
PARTS = ("train", "test")


@dataclass(frozen=True)
class Scene:
    """One place: an image and its mask."""

    id: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class ScenePixels:
    """A decoded scene: `image` uint8 (H, W, 3) BGR, `labels` uint8 (H, W), and the files' SHA-256."""

    image: np.ndarray
    labels: np.ndarray
    image_sha256: str
    mask_sha256: str


def find_scenes(folders: Iterable[Path]) -> list[Scene]:
    """Pair the images and masks of `folders`; return the scenes sorted by id as text.

    Raises DataError for a missing or empty folder, an image without mask or a mask without image, and
    an id that occurs twice (a scene's records are a function of its id).
    """
    scenes: dict[str, Scene] = {}
    for folder in map(Path, folders):
        for scene in _pairs(folder):
            if scene.id in scenes:
                fact = f"scene {scene.id} is also {scenes[scene.id].image}"
                raise DataError(scene.image, fact, "leave one of the two out")
            scenes[scene.id] = scene
    return [scenes[id] for id in sorted(scenes)]


def _pairs(folder: Path) -> list[Scene]:
    if not folder.is_dir():
        raise DataError(folder, "is no folder", "give a folder of <id>_sat.jpg and <id>_mask.png")
    names = sorted(path.name for path in folder.iterdir())
    images = [(name.removesuffix(end), name) for name in names for end in IMAGE_ENDINGS if name.endswith(end)]
    masks = {name.removesuffix(MASK_ENDING) for name in names if name.endswith(MASK_ENDING)}
    if not images:
        raise DataError(folder, f"holds no *_sat.jpg among {len(names)} files", "give a folder of scenes")
    for id, name in images:
        if id not in masks:
            raise DataError(
                folder / name, f"has no mask {id}{MASK_ENDING}", "add the mask or remove the image"
            )
    for id in sorted(masks - {id for id, _ in images}):
        raise DataError(folder / (id + MASK_ENDING), "has no image", f"add {id}_sat.jpg or remove the mask")
    return [Scene(id, folder / name, folder / (id + MASK_ENDING)) for id, name in images]


def split(scenes: list[Scene], hold_out: int, part: str) -> list[Scene]:
    """Return the train or test part: of the ids sorted as text, every `hold_out`-th goes to test.

    Whole scenes are split, never crops of one scene. Raises DataError if the part is empty.
    """
    if hold_out < 2:
        raise DataError("--hold-out", f"is {hold_out}", "give 2 or more: every K-th scene is held out")
    if part not in PARTS:
        raise DataError("--part", f"is {part!r}", f"give one of {', '.join(PARTS)}")
    ordered = sorted(scenes, key=lambda scene: scene.id)
    chosen = [s for number, s in enumerate(ordered, 1) if (number % hold_out == 0) == (part == "test")]
    if not chosen:
        fact = f"{hold_out} leaves no {part} scene of {len(scenes)}"
        raise DataError("--hold-out", fact, "give a smaller number or more scenes")
    return chosen


def read_scene(scene: Scene, task: Task) -> ScenePixels:
    """Decode a scene strictly; raise DataError, naming the file, for anything wrong with it."""
    image_bytes, mask_bytes = read_bytes(scene.image), read_bytes(scene.mask)
    image, mask = decode(image_bytes, scene.image), decode(mask_bytes, scene.mask)
    if image.shape != mask.shape:
        sizes = "{1}x{0}, its image {3}x{2}".format(*mask.shape[:2], *image.shape[:2])
        raise DataError(scene.mask, f"is {sizes}", "use the mask that belongs to the image")
    labels = labels_from_mask(cv2.cvtColor(mask, cv2.COLOR_BGR2RGB), task, scene.mask)
    sums = (hashlib.sha256(data).hexdigest() for data in (image_bytes, mask_bytes))
    return ScenePixels(image, labels, *sums)
