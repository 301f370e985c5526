"""Files of labels, whatever they hold: colours (PNG, JPEG), numbers (PNG), or label rasters (GeoTIFF).

A label raster has one band of integers: numbers of the data set's classes; or the labels themselves, where
it says so by its tag; or it has the exact colours of the classes in red, green and blue. It is read window
by window, so that its size does not matter; a picture whole.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.enums import ColorInterp

from common.datasets import IGNORE, Dataset
from common.errors import DataError
from common.files import read_bytes
from common.numbers import plural
from data_prep.decoding import JPEG_START, decode, decode_numbers, is_grey_png, is_palette_png
from data_prep.geotiff import (
    SETTINGS,
    Georeference,
    georeference_of,
    open_geotiff,
    open_without_overviews,
    read_window,
    valid_window,
)
from data_prep.masks import (
    class_list,
    labels_from_colours,
    labels_from_exact_colours,
    labels_from_numbers,
    labels_from_raster_colours,
)
from data_prep.raster_bands import COLOURS

RASTER_SUFFIXES = (".tif", ".tiff")
CLASSES_TAG = "classes"  # of rasters whose numbers are the labels themselves


@dataclass(frozen=True)
class PictureLabels:
    """The labels of a picture, (H, W) uint8, in memory."""

    path: Path
    labels: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.labels.shape

    @property
    def georeference(self) -> None:
        """A picture does not say where it lies."""
        return None

    def read(self, rows: slice, columns: slice, image_valid: np.ndarray | None = None) -> np.ndarray:
        """Return a window of the labels, (h, w) uint8: IGNORE without a class or data in the image."""
        labels = self.labels[rows, columns]
        return labels if image_valid is None else np.where(image_valid, labels, np.uint8(IGNORE))

    def shrunk(self, longest: int) -> np.ndarray:
        """Return the labels with sides of at most `longest`, by nearest neighbour."""
        return shrink(self.labels, longest, cv2.INTER_NEAREST)


@dataclass(frozen=True)
class RasterLabels:
    """The labels of an open label raster; same methods as PictureLabels.

    `labels_of` is by number, `remedy` for a number that is not there; `colours` are the bands of red, green
    and blue where it holds the colours of `dataset` in place of numbers.
    """

    path: Path
    raster: rasterio.DatasetReader
    dataset: Dataset
    labels_of: Mapping[int, int]
    remedy: str
    colours: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.raster.shape

    @property
    def georeference(self) -> Georeference:
        """Where the raster lies."""
        return georeference_of(self.raster)

    def read(self, rows: slice, columns: slice, image_valid: np.ndarray | None = None) -> np.ndarray:
        """Return a window of the labels; DataError for a number that has no class."""
        return self._labels(self.raster, rows, columns, None, image_valid)

    def shrunk(self, longest: int) -> np.ndarray:
        """Return the labels with sides of at most `longest`, by nearest neighbour."""
        rows, columns = (slice(0, length) for length in self.shape)
        with open_without_overviews(self.raster) as raster:
            return self._labels(raster, rows, columns, shrunk_shape(self.shape, longest))

    def _labels(
        self, raster, rows: slice, columns: slice, shape: tuple[int, int] | None, image_valid=None
    ) -> np.ndarray:
        values = read_window(raster, list(self.colours) or 1, rows, columns, shape)
        valid = valid_window(raster, rows, columns, shape)
        if image_valid is not None:
            valid &= image_valid
        if self.colours:
            pixels = np.ascontiguousarray(values.transpose(1, 2, 0))
            return labels_from_raster_colours(pixels, self.dataset, self.raster.name, ~valid)
        return labels_from_numbers(values, self.labels_of, self.raster.name, self.remedy, ~valid)


Labels = PictureLabels | RasterLabels


@contextmanager
def open_truth(path: Path, dataset: Dataset) -> Iterator[Labels]:
    """Open a true mask of a data set; DataError, naming the file, if it is not one.

    Nothing is guessed: a raster's numbers must be the data set's, or be called labels by its tag.
    """
    with _open(Path(path), dataset, guess=False) as labels:
        yield labels


@contextmanager
def open_map(path: Path, dataset: Dataset) -> Iterator[Labels]:
    """Open a predicted map as `open_truth` does; numbers of no data set's values are the labels."""
    with _open(Path(path), dataset, guess=True) as labels:
        yield labels


@contextmanager
def _open(path: Path, dataset: Dataset, guess: bool) -> Iterator[Labels]:
    if path.suffix.lower() not in RASTER_SUFFIXES:
        yield PictureLabels(path, _picture_labels(path, dataset, guess))
        return
    with rasterio.Env(**SETTINGS), open_geotiff(path) as raster:
        yield _raster_labels(path, raster, dataset, guess)


def _picture_labels(path: Path, dataset: Dataset, guess: bool) -> np.ndarray:
    """Decode a picture: numbers where it has one channel and the data set has values, else colours."""
    data = read_bytes(path)
    if dataset.labels_of_values:
        palette = is_palette_png(data)
        if palette or is_grey_png(data):
            remedy = _value_remedy(dataset)
            labels = labels_from_numbers(decode_numbers(data, path), dataset.labels_of_values, path, remedy)
            painted = labels_from_exact_colours(decode(data, path, rgb=True), dataset) if palette else None
            if painted is not None and (painted != labels).any():
                fact = f"has the colours of {dataset.name} as palette, and values of other classes as indices"
                raise DataError(path, fact, "save it as RGB, or with the values as indices")
            return labels
        if data.startswith(JPEG_START) and not any(entry.colour for entry in dataset.classes):
            remedy = "save it as PNG: compression changes numbers"
            raise DataError(path, f"is a JPEG, and the classes of {dataset.name} have values alone", remedy)
    return labels_from_colours(decode(data, path, rgb=True), dataset, path, is_map=guess)


def _raster_labels(path: Path, raster: rasterio.DatasetReader, dataset: Dataset, guess: bool) -> RasterLabels:
    kind = np.dtype(raster.dtypes[0])
    if colours := _colours(path, raster, dataset):
        return RasterLabels(path, raster, dataset, {}, "", colours)
    if raster.count != 1 or kind.kind not in "iu" or not np.can_cast(kind, np.int64):
        fact = f"has {plural(raster.count, 'band')} of {kind}"
        remedy = "give one band of whole numbers, or the classes' colours as red, green and blue of 8 bits"
        raise DataError(path, fact, remedy)
    if (raster.scales[0], raster.offsets[0]) != (1, 0):
        fact = (
            f"has scale {raster.scales[0]:g} and offset {raster.offsets[0]:g}: its numbers have two readings"
        )
        raise DataError(path, fact, "export the numbers themselves, as with `gdal_translate -unscale`")
    _refuse_lossy(path, raster)
    tag = raster.tags().get(CLASSES_TAG)
    if tag and tag != class_list(dataset.class_names):
        raise DataError(path, f"holds numbers of {tag!r}", f"give a raster of the classes of {dataset.name}")
    if dataset.labels_of_values and not tag:
        labels_of, remedy = dataset.labels_of_values, _value_remedy(dataset)
    elif guess or tag:
        labels_of = {label: label for label in (*range(len(dataset.classes)), IGNORE)}
        remedy = f"give class numbers ({', '.join(map(str, labels_of))})"
    else:
        remedy = f"give the classes of {dataset.name} their values in its file"
        raise DataError(path, "holds numbers, and nothing says which class each of them is", remedy)
    _refuse_nodata(path, raster, labels_of, dataset)
    return RasterLabels(path, raster, dataset, labels_of, remedy)


def _colours(path: Path, raster: rasterio.DatasetReader, dataset: Dataset) -> tuple[int, ...]:
    """Return the bands of red, green and blue of a raster of colours; none of another, or without colours."""
    kinds = raster.colorinterp
    others = set(kinds).difference(COLOURS, [ColorInterp.alpha])
    colours = [entry.colour for entry in dataset.classes if entry.colour]
    if not colours or others or len(kinds) not in (3, 4) or not set(kinds).issuperset(COLOURS):
        return ()
    if set(raster.dtypes) != {"uint8"}:
        return ()
    _refuse_lossy(path, raster)
    if raster.nodata is not None and any(set(colour) == {raster.nodata} for colour in colours):
        fact = f"has the nodata value {raster.nodata:g}, which is the colour of a class too"
        raise DataError(path, fact, "unset it in the file, or give the class another colour")
    return tuple(kinds.index(colour) + 1 for colour in COLOURS)


def _refuse_lossy(path: Path, raster: rasterio.DatasetReader) -> None:
    stored = raster.tags(ns="IMAGE_STRUCTURE")
    lossy = stored.get("COMPRESSION") == "JPEG" or stored.get("COMPRESSION_REVERSIBILITY") == "LOSSY"
    if lossy or float(stored.get("MAX_Z_ERROR", 0)) >= 1:
        fact = f"is compressed with loss ({stored['COMPRESSION']}), which changes numbers"
        raise DataError(path, fact, "export them again without loss, as with DEFLATE")


def _refuse_nodata(
    path: Path, raster: rasterio.DatasetReader, labels_of: Mapping[int, int], dataset: Dataset
) -> None:
    """Raise DataError for a nodata value that is a class too: its pixels would be ignored without a word."""
    label = labels_of.get(raster.nodata, IGNORE)
    if label != IGNORE:
        fact = f"has the nodata value {raster.nodata:g}, which is class {dataset.class_names[label]} too"
        raise DataError(path, fact, f"unset it in the file, or take the value out of {dataset.name}")


def _value_remedy(dataset: Dataset) -> str:
    return f"add {{value}} to the values of a class of {dataset.name}, or of its [ignore]"


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
