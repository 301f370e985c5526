"""The scenes of a comparison: which ones, and their image, truth and predictions read and shrunk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_prep.classes import Task
from data_prep.scenes import IMAGE_ENDINGS
from inference.folders import find_images, find_masks, pick
from inference.label_files import open_labels, shrink
from inference.masks import read_image
from prototxt_gen.errors import DataError

LONGEST = 600  # pixels of a side kept: more than a cell of the figure shows


@dataclass(frozen=True)
class Row:
    """One scene of the grid: `image` (H, W, 3) RGB uint8, `maps` of labels (H, W), the truth first."""

    id: str
    image: np.ndarray
    maps: list[np.ndarray]


def choose_scenes(
    images: Path, truth: Path, predicted: Sequence[Path], ids: Sequence[str] | None, rows: int
) -> list[str]:
    """Return the scenes to show: `ids` if given, else `rows` of those that all folders have.

    Raises DataError for an id that a folder lacks, or where no scene is in all of them.
    """
    if rows < 1:
        raise DataError("--rows", f"is {rows}", "give 1 or more")
    folders = {Path(folder): find_masks(folder) for folder in (truth, *predicted)}
    for id in ids or []:
        for folder, masks in folders.items():
            if id not in masks:
                raise DataError(folder, f"has no mask of scene {id}", "choose other --scenes")
    if ids:
        return list(ids)
    common = set.intersection(*(set(masks) for masks in folders.values()))
    common = [id for id in sorted(common) if _image_of(images, id)]
    if not common:
        raise DataError(
            images, "shares no scene with all folders of masks", "give folders of the same scenes"
        )
    return list(pick(common, rows))


def choose_images(images: Path, ids: Sequence[str] | None, rows: int) -> dict[str, Path]:
    """Return the images of scenes by id: `ids` if given, else `rows` spread over the folder's."""
    if rows < 1:
        raise DataError("--rows", f"is {rows}", "give 1 or more")
    found = {scene.id: scene.path for scene in find_images([images])}
    for id in ids or []:
        if id not in found:
            raise DataError(images, f"has no image of scene {id}", "choose other --scenes")
    return {id: found[id] for id in ids or pick(sorted(found), rows)}


def read_rows(
    images: Path, truth: Path, predicted: Sequence[Path], ids: Sequence[str], task: Task
) -> Iterator[Row]:
    """Yield the scenes `ids`, shrunk to what a figure shows; DataError for a missing or broken file."""
    folders = [find_masks(folder) for folder in (truth, *predicted)]
    for id in ids:
        path = _image_of(images, id)
        if path is None:
            raise DataError(images, f"has no image of scene {id}", "choose other --scenes")
        image = cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB)
        maps = [_read_map(masks[id], image.shape[:2], task) for masks in folders]
        yield Row(id, shrink(image, LONGEST, cv2.INTER_AREA), maps)


def _read_map(path: Path, shape: tuple[int, int], task: Task) -> np.ndarray:
    with open_labels(path, task) as labels:
        if labels.shape != shape:
            sizes = "{1}x{0}, its image {3}x{2}".format(*labels.shape, *shape)
            raise DataError(path, f"is {sizes}", "give masks of these images")
        return labels.shrunk(LONGEST)


def _image_of(images: Path, id: str) -> Path | None:
    paths = (Path(images) / f"{id}{ending}" for ending in IMAGE_ENDINGS)
    return next((path for path in paths if path.is_file()), None)
