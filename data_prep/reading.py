"""How images are read: which bands, and which values become 0 and 255."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from common.errors import DataError
from data_prep.stretch import Stretch

WHOLE = slice(None)
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


AS_IT_IS = Reading()


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
