"""GeoTIFF scenes of any size, read in windows: an 8-bit image and a raster of integers for its labels."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window

from data_prep.decoding import file_checksum
from data_prep.label_values import LabelValues
from data_prep.scenes import size_mismatch
from prototxt_gen.errors import DataError

MAX_SIDE = 1 << 20  # pixels; more is a broken header
MAX_BLOCK = 1 << 28  # bytes that must be decoded at once
CACHE_BYTES = 64 << 20  # GDAL's own default is a share of the machine's memory
# Only what the file itself holds: no neighbouring .aux.xml, .ovr or .msk, and nothing from the network.
SETTINGS = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GTIFF_IGNORE_READ_ERRORS": "NO",
}
# What GDAL says becomes an error here, or is no matter: not lines on stderr.
logging.getLogger("rasterio").addHandler(logging.NullHandler())
SAME_PLACE = 0.5  # pixels by which two rasters of one place may differ


@dataclass(frozen=True)
class RasterPixels:
    """An open scene; windows are read when asked for. Same methods as ScenePixels."""

    image: rasterio.DatasetReader
    mask: rasterio.DatasetReader
    values: LabelValues

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape

    @cached_property
    def image_sha256(self) -> str:
        """The image file's SHA-256."""
        return file_checksum(Path(self.image.name))

    @cached_property
    def mask_sha256(self) -> str:
        """The mask file's SHA-256."""
        return file_checksum(Path(self.mask.name))

    def read_image(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the image, uint8 (h, w, 3), BGR; grey gives three equal channels."""
        bands = [3, 2, 1] if self.image.count >= 3 else [1, 1, 1]
        return np.ascontiguousarray(read_window(self.image, bands, rows, columns).transpose(1, 2, 0))

    def read_labels(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the labels, uint8 (h, w): IGNORE where image or mask has no data."""
        values = read_window(self.mask, 1, rows, columns)
        valid = read_valid(self.mask, rows, columns) & read_valid(self.image, rows, columns)
        return self.values.apply(values, ~valid, self.mask.name)


@contextmanager
def open_raster(image: Path, mask: Path, values: LabelValues) -> Iterator[RasterPixels]:
    """Open a scene of two GeoTIFFs; raise DataError, naming the file, for what cannot be used.

    The image has 8 bits and one or three bands, and maybe an alpha band; the mask one band of integers
    of at most 32 bits. Both have the same size and, where both say it, cover the same place.
    """
    with rasterio.Env(**SETTINGS), open_geotiff(image) as pixels, open_geotiff(mask) as numbers:
        _check_image(pixels)
        if numbers.count != 1 or np.dtype(numbers.dtypes[0]).kind not in "iu":
            fact = f"has {numbers.count} bands of {numbers.dtypes[0]}"
            raise DataError(mask, fact, "give one band of integers, of at most 32 bits")
        if numbers.shape != pixels.shape:
            raise size_mismatch(mask, numbers.shape, pixels.shape)
        check_place(pixels, numbers)
        yield RasterPixels(pixels, numbers, values)


@contextmanager
def open_geotiff(path: Path) -> Iterator[rasterio.DatasetReader]:
    """Open a GeoTIFF, in a rasterio.Env of SETTINGS; DataError for what is none, or huge at once."""
    try:
        # The driver is fixed: GDAL would take a text file of another format and follow paths in it.
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            dataset = rasterio.open(path, driver="GTiff")
    except (RasterioError, ValueError) as error:
        raise DataError(
            path, f"is no GeoTIFF ({_one_line(error)})", "fetch or export the file again"
        ) from error
    with dataset:
        height, width = dataset.shape
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise DataError(path, f"is {width}x{height} pixels", f"cut it to at most {MAX_SIDE} a side")
        rows, columns = dataset.block_shapes[0]
        if rows * columns * dataset.count * np.dtype(dataset.dtypes[0]).itemsize > MAX_BLOCK:
            fact = f"is stored in blocks of {columns}x{rows} pixels"
            raise DataError(path, fact, "export it again in tiles of 256x256 or 512x512")
        yield dataset


def _check_image(image: rasterio.DatasetReader) -> None:
    colours = image.count - (ColorInterp.alpha in image.colorinterp)
    palette = image.colorinterp[0] == ColorInterp.palette
    if colours not in (1, 3) or set(image.dtypes) != {"uint8"} or palette:
        kind = " with a palette" if palette else ""
        fact = f"has {image.count} bands of {image.dtypes[0]}{kind}"
        raise DataError(image.name, fact, "export it as 8-bit RGB or grey")


def check_place(image: rasterio.DatasetReader, mask: rasterio.DatasetReader, what: str = "its image") -> None:
    """Raise DataError if both rasters say where they lie, and it is not one place; `what` is the first."""
    if image.crs is None or mask.crs is None:
        return
    corners = [(0, 0), (image.width, 0), (0, image.height)]
    moved = [~image.transform @ (mask.transform @ corner) for corner in corners]
    away = max(
        abs(a - b) for one, other in zip(moved, corners, strict=True) for a, b in zip(one, other, strict=True)
    )
    if image.crs != mask.crs or away > SAME_PLACE:
        fact = f"lies elsewhere than {what} ({mask.crs}, {away:.1f} pixels away)"
        raise DataError(mask.name, fact, f"warp it to the grid of {what}")


def read_window(
    dataset: rasterio.DatasetReader,
    bands: int | list[int],
    rows: slice,
    columns: slice,
    shape: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return a window of bands, (h, w) or (bands, h, w), shrunk to `shape` (h, w) by nearest neighbour."""
    size = None if shape is None or isinstance(bands, int) else (len(bands), *shape)
    try:
        return dataset.read(bands, window=Window.from_slices(rows, columns), out_shape=size or shape)
    except (RasterioError, ValueError, MemoryError) as error:
        raise _damaged(dataset, error) from error


def read_valid(
    dataset: rasterio.DatasetReader, rows: slice, columns: slice, shape: tuple[int, int] | None = None
) -> np.ndarray:
    """Return where a dataset has data, bool (h, w): by its nodata value, mask band or alpha band."""
    try:
        return dataset.dataset_mask(window=Window.from_slices(rows, columns), out_shape=shape) > 0
    except (RasterioError, ValueError, MemoryError) as error:
        raise _damaged(dataset, error) from error


def _damaged(dataset: rasterio.DatasetReader, error: Exception) -> DataError:
    return DataError(dataset.name, f"is damaged ({_one_line(error)})", "fetch or export the file again")


def _one_line(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, RasterioIOError) and error.__cause__ else error
    return " ".join(str(cause).split())
