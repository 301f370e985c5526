"""A scene as prediction reads it: rows of BGR in 0-255, whatever the file holds, and where it has data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import rasterio

from data_prep.decoding import JPEG_START, PNG_START, decode_as_stored, read_bytes
from data_prep.geotiff import MAGIC, SETTINGS, open_geotiff
from inference.raster_rows import Place, RasterRows, place_of
from inference.stretch import Stretch
from prototxt_gen.errors import DataError

TIFF = "GTiff"
DRIVERS = {**dict.fromkeys(MAGIC, TIFF), JPEG_START: "JPEG", PNG_START: "PNG"}
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


class Rows(Protocol):
    """Where pixels come from: a decoded picture, or a raster read in windows."""

    shape: tuple[int, int]
    dtype: np.dtype

    def pixels(self, rows: slice) -> np.ndarray:
        """Return rows of the image as stored, (h, W, 3) BGR."""

    def valid(self, rows: slice) -> np.ndarray | None:
        """Return where rows have data, bool (h, W); None for everywhere."""

    def sample(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (pixels (h, w, 3), valid (h, w)) of about side x side pixels spread over the scene."""


@dataclass
class SceneImage:
    """An open scene. `image[top:bottom]` gives rows as (h, W, 3) BGR in 0-255, uint8 or float32."""

    rows: Rows
    fill: Sequence[float] = (0, 0, 0)
    place: Place | None = None  # None: a picture, not a raster
    stretch: Stretch | None = None
    _fill: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Round the fill to what the pixels can hold."""
        self._fill = np.asarray(self.fill, np.float32)
        if self.stretch is None:
            self._fill = np.rint(self._fill).astype(self.rows.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.shape

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return rows of the image; `fill` where there are no data."""
        pixels, valid = self.rows.pixels(rows), self.valid(rows)
        if self.stretch is not None:
            pixels = self.stretch(pixels)
        if valid is not None:
            pixels = np.where(valid[..., None], pixels, self._fill)
        return pixels

    def valid(self, rows: slice) -> np.ndarray | None:
        """Return where rows have data, bool (h, W); None for everywhere."""
        return self.rows.valid(rows)


@dataclass(frozen=True)
class Picture:
    """A decoded JPEG or PNG."""

    image: np.ndarray  # (H, W, 3), BGR
    alpha: np.ndarray | None  # (H, W)

    @classmethod
    def of(cls, stored: np.ndarray) -> "Picture":
        """Take apart what the decoder gives: grey, BGR or BGRA."""
        if stored.ndim == 2:
            return cls(np.repeat(stored[..., None], 3, axis=2), None)
        return cls(stored[..., :3], stored[..., 3] if stored.shape[2] == 4 else None)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[:2]

    @property
    def dtype(self) -> np.dtype:
        """The type of a stored value."""
        return self.image.dtype

    def pixels(self, rows: slice) -> np.ndarray:
        """Return rows as stored, (h, W, 3) BGR."""
        return self.image[rows]

    def valid(self, rows: slice) -> np.ndarray | None:
        """Return where rows are not fully transparent; None without alpha."""
        return None if self.alpha is None else self.alpha[rows] > 0

    def sample(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return every n-th pixel and where it is valid."""
        step = max(1, min(self.shape) // side)
        pixels = self.image[::step, ::step]
        valid = np.ones(self.shape, bool) if self.alpha is None else self.alpha > 0
        return pixels, valid[::step, ::step]


@contextmanager
def open_image(path: Path, reading: Reading) -> Iterator[SceneImage]:
    """Open a JPEG, PNG, TIFF or GeoTIFF, known by its first bytes; DataError for what cannot be used.

    A TIFF is read in windows when rows are asked for; a JPEG or PNG is decoded whole.
    """
    if driver_of(path) == TIFF:
        with rasterio.Env(**SETTINGS), open_geotiff(path) as dataset:
            yield _image(RasterRows.of(dataset, reading.bands), reading, place_of(dataset))
    else:
        if reading.bands is not None:
            raise DataError("--bands", f"given for {path}, which is no TIFF", "leave it away")
        yield _image(Picture.of(decode_as_stored(read_bytes(path), path)), reading, None)


def driver_of(path: Path) -> str | None:
    """Return which of GDAL's drivers reads a file, by its first bytes; None for what none does."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(8)
    except OSError:
        return None
    return next((driver for magic, driver in DRIVERS.items() if start.startswith(magic)), None)


def _image(rows: Rows, reading: Reading, place: Place | None) -> SceneImage:
    stretch = None
    if rows.dtype != np.uint8:
        if reading.stretch is None:
            stretch = Stretch.of(*rows.sample(SAMPLED))
        else:
            low, high = reading.stretch
            stretch = Stretch((low,) * 3, (high,) * 3)
    return SceneImage(rows, reading.fill, place, stretch)
