"""A scene as training and prediction read it: BGR in 0-255 whatever the file holds, and where it has data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import rasterio

from data_prep.geotiff import Place, place_of
from data_prep.raster_bands import WHOLE, RasterBands
from data_prep.stretch import Stretch
from prototxt_gen.errors import DataError

SAMPLED = 1024  # pixels a side that a stretch is estimated from


@dataclass(frozen=True)
class Reading:
    """How images are read.

    `stretch` holds the values that become 0 and 255 in images of more than 8 bits (None: the 2nd and
    98th percentile of each band), `bands` the numbers of the red, green and blue band, from 1 (None: as
    the file says). `fill` (B, G, R in 0-255) stands where an image has no data.
    """

    stretch: tuple[float, float] | None = None
    bands: tuple[int, int, int] | None = None
    fill: Sequence[float] = (0, 0, 0)

    def __post_init__(self) -> None:
        """Raise DataError for a stretch or bands that make no image."""
        if self.stretch is not None and not self.stretch[0] < self.stretch[1]:
            low, high = self.stretch
            raise DataError("--stretch", f"is {low:g} {high:g}", "give the lower value first")
        if self.bands is not None and min(self.bands) < 1:
            raise DataError("--bands", f"is {' '.join(map(str, self.bands))}", "count bands from 1")

    def no_bands_for(self, path: Path) -> None:
        """Raise DataError where bands are chosen for `path`, a picture."""
        if self.bands is not None:
            raise DataError("--bands", f"given for {path}, which is no TIFF", "leave it away")

    def stretch_of(self, pixels: "Pixels") -> Stretch | None:
        """Return the stretch of an image of more than 8 bits; None for one of 8."""
        if pixels.dtype == np.uint8:
            return None
        if self.stretch is None:
            return Stretch.of(*pixels.sample(SAMPLED))
        low, high = self.stretch
        return Stretch((low,) * 3, (high,) * 3)


class Pixels(Protocol):
    """Where pixels come from: a decoded picture, or a raster read in windows."""

    shape: tuple[int, int]
    dtype: np.dtype

    def pixels(self, rows: slice, columns: slice = WHOLE) -> np.ndarray:
        """Return a window of the image as stored, (h, w, 3) BGR."""

    def valid(self, rows: slice, columns: slice = WHOLE) -> np.ndarray | None:
        """Return where a window has data, bool (h, w); None for everywhere."""

    def sample(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (pixels (h, w, 3), valid (h, w)) of about side x side pixels spread over the scene."""


@dataclass
class SceneImage:
    """An open scene. `image[top:bottom]` gives rows as (h, W, 3) BGR in 0-255, uint8 or float32."""

    source: Pixels
    fill: Sequence[float] = (0, 0, 0)
    place: Place | None = None  # None: a picture, not a raster
    stretch: Stretch | None = None
    _fill: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Round the fill to what the pixels can hold."""
        self._fill = np.asarray(self.fill, np.float32)
        if self.stretch is None:
            self._fill = np.rint(self._fill).astype(self.source.dtype)

    @classmethod
    def of(cls, source: Pixels, reading: Reading, place: Place | None = None) -> "SceneImage":
        """Return the image of `source` as `reading` says."""
        return cls(source, reading.fill, place, reading.stretch_of(source))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.source.shape

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return rows of the image; `fill` where there are no data."""
        return self.read(rows)

    def read(self, rows: slice, columns: slice = WHOLE) -> np.ndarray:
        """Return a window of the image, (h, w, 3); `fill` where there are no data."""
        pixels, valid = self.source.pixels(rows, columns), self.valid(rows, columns)
        if self.stretch is not None:
            pixels = self.stretch(pixels)
        if valid is not None:
            pixels = np.where(valid[..., None], pixels, self._fill)
        return pixels

    def valid(self, rows: slice, columns: slice = WHOLE) -> np.ndarray | None:
        """Return where a window has data, bool (h, w); None for everywhere."""
        return self.source.valid(rows, columns)


def image_in(dataset: rasterio.DatasetReader, reading: Reading) -> SceneImage:
    """Return the image in an open TIFF; DataError for one that shows no grey or RGB image."""
    return SceneImage.of(RasterBands.of(dataset, reading.bands), reading, place_of(dataset))
