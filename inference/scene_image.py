"""Scenes opened for prediction: JPEG and PNG decoded whole, TIFF in windows, known by their first bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from data_prep.decoding import JPEG_START, PNG_START, decode_as_stored, read_bytes
from data_prep.geotiff import MAGIC, SETTINGS, open_geotiff
from data_prep.reading import WHOLE, Reading
from data_prep.scene_image import SceneImage, image_in

TIFF = "GTiff"
DRIVERS = {**dict.fromkeys(MAGIC, TIFF), JPEG_START: "JPEG", PNG_START: "PNG"}


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

    def pixels(self, rows: slice, columns: slice = WHOLE) -> np.ndarray:
        """Return a window as stored, (h, w, 3) BGR."""
        return self.image[rows, columns]

    def valid(self, rows: slice, columns: slice = WHOLE) -> np.ndarray | None:
        """Return where a window is not fully transparent; None without alpha."""
        return None if self.alpha is None else self.alpha[rows, columns] > 0

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
            yield image_in(dataset, reading)
    else:
        reading.no_bands_for(path)
        yield SceneImage.of(Picture.of(decode_as_stored(read_bytes(path), path)), reading)


def driver_of(path: Path) -> str | None:
    """Return which of GDAL's drivers reads a file, by its first bytes; None for what none does."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(8)
    except OSError:
        return None
    return next((driver for magic, driver in DRIVERS.items() if start.startswith(magic)), None)
