"""Masks as labels, whatever file they stand in: DeepGlobe's colours (PNG), or class rasters (GeoTIFF).

A class raster has one band of uint8: a class number per pixel, and 255 or the file's nodata value for
unknown. It is read window by window, so that its size does not matter; a PNG is read whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rasterio

from data_prep.classes import Task, check_labels
from data_prep.geotiff import SETTINGS, open_geotiff, read_window, valid_window
from data_prep.rasters import check_place
from inference.masks import read_labels
from prototxt_gen.errors import DataError

RASTER_SUFFIX = ".tif"


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
    """The labels of an open class raster; same methods as PngLabels."""

    path: Path
    dataset: rasterio.DatasetReader
    task: Task

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.dataset.shape

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the labels; DataError for a number that is no class."""
        values = read_window(self.dataset, 1, rows, columns)
        return self._labels(values, valid_window(self.dataset, rows, columns))

    def shrunk(self, longest: int) -> np.ndarray:
        """Return the labels with sides of at most `longest`, by nearest neighbour."""
        whole = (slice(0, self.shape[0]), slice(0, self.shape[1]))
        shape = shrunk_shape(self.shape, longest)
        values = read_window(self.dataset, 1, *whole, shape)
        return self._labels(values, valid_window(self.dataset, *whole, shape))

    def _labels(self, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
        labels = np.where(valid, values, np.uint8(255))
        check_labels(labels, self.task, self.path)
        return labels


Labels = PngLabels | RasterLabels


@contextmanager
def open_labels(path: Path, task: Task) -> Iterator[Labels]:
    """Open a mask of either kind; DataError, naming the file, for what is neither."""
    path = Path(path)
    if path.suffix != RASTER_SUFFIX:
        yield PngLabels(path, read_labels(path, task))
        return
    with rasterio.Env(**SETTINGS), open_geotiff(path) as dataset:
        if dataset.count != 1 or dataset.dtypes[0] != "uint8":
            fact = f"has {dataset.count} bands of {dataset.dtypes[0]}"
            raise DataError(path, fact, "give one band of uint8: class numbers, 255 for unknown")
        yield RasterLabels(path, dataset, task)


def check_same_place(truth: Labels, predicted: Labels) -> None:
    """Raise DataError where both are rasters that say where they lie, and it is not one place."""
    if isinstance(truth, RasterLabels) and isinstance(predicted, RasterLabels):
        check_place(truth.dataset, predicted.dataset, "the truth")


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
