"""Scenes for the page: image, map and truth as small pictures inside the HTML."""

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from common.datasets import IGNORE, Dataset
from common.numbers import check_number
from data_prep.masks import colours_from_labels
from evaluation.comparison import MAX_ROWS, read_rows, scenes_to_show
from evaluation.score_text import percent
from inference.pixel_area import HECTARE, PixelAreas, square_metres_by_label
from inference.polygons import strips
from inference.prediction_manifest import open_map_of

QUALITY = 82  # of the JPEGs


@dataclass(frozen=True)
class ScenePictures:
    """What a page shows of a scene: data URIs of image, map and truth ("": none); their size in pixels."""

    id: str
    width: int
    height: int
    image: str
    map: str
    truth: str


def pictures(
    images: Path,
    truth: Path | None,
    predicted: Path,
    dataset: Dataset,
    count: int,
    scored: Collection[str] | None = None,
) -> list[ScenePictures]:
    """Return `count` scenes spread over those that all the folders have, sides of at most 600 pixels.

    Where `scored` gives ids, they are of these. Raises DataError for more than MAX_ROWS, and as
    `scenes_to_show` and `read_rows` do.
    """
    check_number("--scenes", count, 1, MAX_ROWS)
    ids = scenes_to_show(images, truth, [predicted], dataset, None, count, scored)
    shown = []
    for row in read_rows(images, truth, [predicted], ids, dataset):
        *true, mapped = (_png(colours_from_labels(labels, dataset)) for labels in row.maps)
        height, width = row.image.shape[:2]
        shown.append(ScenePictures(row.id, width, height, _jpeg(row.image), mapped, "".join(true)))
    return shown


@dataclass(frozen=True)
class MappedClass:
    """A class's share of the maps in percent and, where all maps say how large a pixel is, its hectares."""

    name: str
    share: str
    hectares: str


def mapped_classes(maps: Mapping[str, Path], dataset: Dataset) -> list[MappedClass]:
    """Return how much of the maps, by id, each class covers; DataError for maps that cannot be read."""
    pixels, ground, placed = np.zeros(IGNORE + 1), np.zeros(IGNORE + 1), True
    for id, path in maps.items():
        with open_map_of(path, id, dataset) as labels:
            place = labels.georeference
            placed &= place is not None and place.has_place
            areas = PixelAreas.of(path, place, labels.shape) if placed else None
            for rows in strips(labels.shape):
                values = labels.read(rows, slice(0, labels.shape[1]))
                pixels += np.bincount(values.ravel(), minlength=IGNORE + 1)
                if areas:
                    ground += square_metres_by_label(values, areas.rows(rows))
    total = pixels[: len(dataset.classes)].sum()
    return [
        MappedClass(
            name,
            percent(pixels[label] / total if total else None),
            f"{ground[label] / HECTARE:,.2f}" if placed else "",
        )
        for label, name in enumerate(dataset.class_names)
    ]


def _jpeg(image: np.ndarray) -> str:
    return _encoded(image, ".jpg", "jpeg", (cv2.IMWRITE_JPEG_QUALITY, QUALITY))


def _png(image: np.ndarray) -> str:
    return _encoded(image, ".png", "png", (cv2.IMWRITE_PNG_COMPRESSION, 9))


def _encoded(image: np.ndarray, ending: str, kind: str, options: Sequence[int]) -> str:
    _, data = cv2.imencode(ending, image[..., ::-1], options)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
