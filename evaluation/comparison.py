"""The scenes of a comparison: which ones, and their image, truth and predictions read and shrunk."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.datasets import Dataset
from common.errors import DataError
from common.numbers import check_number
from data_prep.label_files import Labels, open_truth
from data_prep.scenes import FilePatterns
from evaluation.thumbnails import read_thumbnail
from inference.prediction_manifest import open_map_of
from inference.scene_files import evenly_spaced, find_images, find_maps, find_true_masks

MAX_ROWS = 24  # scenes of a figure, or of a page
LONGEST = 600  # pixels of a side kept: more than a cell of the figure shows


@dataclass(frozen=True)
class ComparedScene:
    """One scene of the grid: `image` (H, W, 3) RGB uint8, `maps` of labels (H, W), a truth first."""

    id: str
    image: np.ndarray
    maps: list[np.ndarray]


def scenes_to_show(
    images: Path,
    truth: Path | None,
    predicted: Sequence[Path],
    dataset: Dataset,
    ids: Sequence[str] | None,
    rows: int,
    among: Collection[str] | None = None,
) -> list[str]:
    """Return the scenes to show: `ids` if given, else `rows` of those that all folders, and `among`, have.

    Raises DataError for an id that a folder lacks, or where no scene is in all of them.
    """
    check_number("--rows", rows, 1, MAX_ROWS)
    folders = {} if truth is None else {Path(truth): find_true_masks(truth, dataset)}
    folders |= {Path(folder): find_maps(folder) for folder in predicted}
    ids = _listed(ids, dataset)
    for id in ids:
        for folder, masks in folders.items():
            if id not in masks:
                raise DataError(folder, f"has no mask of scene {id}", "choose other --scenes")
    if ids:
        return ids
    common = set.intersection(*(set(masks) for masks in folders.values()))
    common &= _images(images, dataset).keys()
    if not common:
        raise DataError(
            images, "shares no scene with all folders of masks", "give folders of the same scenes"
        )
    if among is not None and not common & set(among):
        raise DataError(predicted[0], "holds no map of a scored scene", "give the folder that was scored")
    return list(evenly_spaced(sorted(common if among is None else common & set(among)), rows))


def choose_images(images: Path, dataset: Dataset, ids: Sequence[str] | None, rows: int) -> dict[str, Path]:
    """Return the images of scenes by id: `ids` if given, else `rows` spread over the folder's."""
    check_number("--rows", rows, 1, MAX_ROWS)
    available = _images(images, dataset)
    return {
        id: _image_of(images, available, id)
        for id in _listed(ids, dataset) or evenly_spaced(sorted(available), rows)
    }


def _listed(ids: Sequence[str] | None, dataset: Dataset) -> list[str]:
    """Return the ids that a user lists, by themselves or in names of files."""
    return [FilePatterns.of(dataset).listed_id(id) for id in ids or ()]


def read_rows(
    images: Path, truth: Path | None, predicted: Sequence[Path], ids: Sequence[str], dataset: Dataset
) -> Iterator[ComparedScene]:
    """Yield the scenes `ids`, shrunk to what a figure shows; DataError for a missing or broken file."""
    pictures = _images(images, dataset)
    true_masks = find_true_masks(truth, dataset) if truth else {}
    folders = [find_maps(folder) for folder in predicted]
    for id in ids:
        image, shape = read_thumbnail(_image_of(images, pictures, id), LONGEST, dataset)
        opened = [open_truth(true_masks[id], dataset)] if truth else []
        opened += [open_map_of(masks[id], id, dataset) for masks in folders]
        yield ComparedScene(id, image, [_read_map(labels, shape) for labels in opened])


def _read_map(opened: AbstractContextManager[Labels], shape: tuple[int, int]) -> np.ndarray:
    with opened as labels:
        if labels.shape != shape:
            sizes = "{1}x{0}, its image {3}x{2}".format(*labels.shape, *shape)
            raise DataError(labels.path, f"is {sizes}", "give masks of these images")
        return labels.shrunk(LONGEST)


def _images(folder: Path, dataset: Dataset) -> dict[str, Path]:
    return {scene.id: scene.path for scene in find_images([folder], dataset)}


def _image_of(folder: Path, images: dict[str, Path], id: str) -> Path:
    if id not in images:
        raise DataError(folder, f"has no image of scene {id}", "choose other --scenes")
    return images[id]
