"""A scene as training and prediction read it: BGR in 0-255 whatever the file holds, and where it has data."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import rasterio

from data_prep.geotiff import Place, place_of
from data_prep.raster_bands import RasterBands
from data_prep.reading import WHOLE, Pixels, Reading
from data_prep.stretch import Stretch


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
