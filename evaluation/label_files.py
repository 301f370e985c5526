"""Masks as labels, whatever file they stand in: DeepGlobe's colours (PNG), or label rasters (GeoTIFF).

A label raster has one band of integers: class numbers, 255 or the file's nodata value for unknown; or
numbers that a mapping file tells. It is read window by window, so that its size does not matter; a PNG whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rasterio

from data_prep.classes import Task
from data_prep.geotiff import SETTINGS, open_geotiff
from data_prep.label_rasters import LabelRaster, class_numbers
from data_prep.label_values import LabelValues
from data_prep.rasters import check_place
from inference.masks import read_labels

RASTER_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class PngLabels:
    """The labels of a colour mask, (H, W) uint8, in memory."""

    path: Path
    labels: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.labels.shape

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the labels, (h, w) uint8 with 255 for unknown."""
        return self.labels[rows, columns]

    def shrunk(self, longest: int) -> np.ndarray:
        """Return the labels with sides of at most `longest`, by nearest neighbour."""
        return shrink(self.labels, longest, cv2.INTER_NEAREST)


@dataclass(frozen=True)
class RasterLabels:
    """The labels of an open label raster; same methods as PngLabels."""

    path: Path
    raster: LabelRaster

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.raster.dataset.shape

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the labels; DataError for a number that is no class."""
        return self.raster.read(rows, columns)

    def shrunk(self, longest: int) -> np.ndarray:
        """Return the labels with sides of at most `longest`, by nearest neighbour."""
        whole = (slice(0, self.shape[0]), slice(0, self.shape[1]))
        return self.raster.read(*whole, shrunk_shape(self.shape, longest))


Labels = PngLabels | RasterLabels


@contextmanager
def open_labels(path: Path, task: Task, values: LabelValues | None = None) -> Iterator[Labels]:
    """Open a mask of either kind; DataError, naming the file, for what is neither.

    `values` says which class each number of a label raster is; without it they are the labels.
    """
    path = Path(path)
    if path.suffix not in RASTER_SUFFIXES:
        yield PngLabels(path, read_labels(path, task))
        return
    with rasterio.Env(**SETTINGS), open_geotiff(path) as dataset:
        yield RasterLabels(path, LabelRaster(dataset, values or class_numbers(task)))


@contextmanager
def open_truth(path: Path, task: Task, values: LabelValues | None = None) -> Iterator[Labels]:
    """Open a true mask as `open_labels` does, but guess nothing.

    Without `values`, a raster that does not tell that its numbers are the labels of `task` is a DataError:
    numbers of somebody's own would be scored as other classes.
    """
    with open_labels(path, task, values) as labels:
        if values is None and isinstance(labels, RasterLabels):
            labels.raster.require_class_numbers(task)
        yield labels


def check_same_place(truth: Labels, predicted: Labels) -> None:
    """Raise DataError where both are rasters that say where they lie, and it is not one place."""
    if isinstance(truth, RasterLabels) and isinstance(predicted, RasterLabels):
        check_place(truth.raster.dataset, predicted.raster.dataset, "the truth")


def shrunk_shape(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Return (height, width) of a picture whose sides are made at most `longest`."""
    factor = min(longest / max(shape[:2]), 1)
    return max(round(shape[0] * factor), 1), max(round(shape[1] * factor), 1)


def shrink(pixels: np.ndarray, longest: int, method: int) -> np.ndarray:
    """Return `pixels` (H, W, ...) with sides of at most `longest`; `method` is OpenCV's interpolation."""
    height, width = shrunk_shape(pixels.shape, longest)
    if (height, width) == pixels.shape[:2]:
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=method)
