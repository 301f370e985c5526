"""GeoTIFF scenes of any size, read in windows: an image, and a raster of integers for its labels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio

from common.errors import DataError
from data_prep.decoding import file_checksum
from data_prep.geotiff import SETTINGS, open_geotiff
from data_prep.label_rasters import LabelRaster
from data_prep.label_values import LabelValues
from data_prep.reading import AS_IT_IS, Reading
from data_prep.records import MEAN_BGR
from data_prep.scene_image import SceneImage, image_in
from data_prep.scenes import size_mismatch

SAME_PLACE = 0.5  # pixels by which two rasters of one place may differ


@dataclass(frozen=True)
class RasterPixels:
    """An open scene; windows are read when asked for. Same methods as ScenePixels."""

    image_path: Path
    mask_path: Path
    image: SceneImage
    labels: LabelRaster

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape

    @cached_property
    def image_sha256(self) -> str:
        """The image file's SHA-256."""
        return file_checksum(self.image_path)

    @cached_property
    def mask_sha256(self) -> str:
        """The mask file's SHA-256."""
        return file_checksum(self.mask_path)

    @property
    def read_as(self) -> dict:
        """The bands of red, green and blue, and the values that became 0 and 255 (None: 0 and 255)."""
        stretch = self.image.stretch
        pairs = stretch and [list(pair) for pair in zip(stretch.low, stretch.high, strict=True)][::-1]
        return {"bands": list(self.image.source.bands)[::-1], "stretch": pairs}

    def read_image(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the image as prediction reads it, in whole numbers: uint8 (h, w, 3), BGR.

        Without data it is the mean colour.
        """
        pixels = self.image.read(rows, columns)
        return np.ascontiguousarray(pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8))

    def read_labels(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the labels, uint8 (h, w): IGNORE where image or mask has no data."""
        return self.labels.read(rows, columns, image_valid=self.image.valid(rows, columns))


@contextmanager
def open_raster(
    image: Path, mask: Path, values: LabelValues, reading: Reading = AS_IT_IS
) -> Iterator[RasterPixels]:
    """Open a scene of two GeoTIFFs; raise DataError, naming the file, for what cannot be used.

    The image is any that prediction reads too; the mask one band of integers (but uint64). Both
    have the same size and, where both say it, cover the same place.
    """
    reading = replace(reading, fill=MEAN_BGR)
    with rasterio.Env(**SETTINGS), open_geotiff(image) as pixels, open_geotiff(mask) as numbers:
        scene = RasterPixels(image, mask, image_in(pixels, reading), LabelRaster(numbers, values))
        if numbers.shape != pixels.shape:
            raise size_mismatch(mask, numbers.shape, pixels.shape)
        check_place(pixels, numbers)
        yield scene


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
