"""GeoTIFF scenes of any size, read in windows: an 8-bit image and a raster of integers for its labels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp

from data_prep.decoding import file_checksum
from data_prep.geotiff import SETTINGS, open_geotiff, read_window, valid_window
from data_prep.label_values import LabelValues
from data_prep.scenes import size_mismatch
from prototxt_gen.errors import DataError

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
        valid = valid_window(self.mask, rows, columns) & valid_window(self.image, rows, columns)
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
