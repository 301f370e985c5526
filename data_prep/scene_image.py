"""A scene as training and prediction read it: its bands in 0-255, and where it has data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio

from common.datasets import RGB
from common.errors import DataError
from common.files import read_bytes
from data_prep.decoding import JPEG_START, PNG_START, decode_as_stored, stated_shape
from data_prep.geotiff import MAGIC, SETTINGS, Georeference, georeference_of, open_geotiff
from data_prep.raster_bands import RasterBands
from data_prep.read_options import WHOLE, PixelSource, ReadOptions, Stretch
from data_prep.tiff_tags import HEIGHT, SAMPLES, WIDTH, read_tags

TIFF = "GTiff"
DRIVERS = {**dict.fromkeys(MAGIC, TIFF), JPEG_START: "JPEG", PNG_START: "PNG"}
STORED = RGB[::-1]  # order of OpenCV's channels
HEADER = 1 << 20  # bytes in which a JPEG's size is looked for: metadata stand before it


@dataclass
class SceneImage:
    """An open scene. `image[top:bottom]` gives rows as (h, W, C) in 0-255, uint8 or float32."""

    source: PixelSource
    fill: Sequence[float] = (0,)
    georeference: Georeference | None = None  # None: a picture, not a raster
    stretch: Stretch | None = None
    note: str | None = None  # of the stretch that it does not need
    _fill: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Round the fill to what the pixels can hold."""
        self._fill = np.asarray(self.fill, np.float32)
        if self.stretch is None:
            self._fill = np.rint(self._fill).astype(self.source.dtype)

    @classmethod
    def of(
        cls, source: PixelSource, read_options: ReadOptions, georeference: Georeference | None = None
    ) -> "SceneImage":
        """Return the image of `source` as `read_options` says."""
        stretch, note = read_options.stretch_of(source), read_options.note_of(source)
        return cls(source, read_options.fill, georeference, stretch, note)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.source.shape

    @property
    def notes(self) -> list[str]:
        """What is worth knowing of how the file was read, a line each."""
        notes = [note for note in (self.source.note, self.note) if note is not None]
        if self.stretch is not None:
            notes.append(f"{self.source.dtype} stretched to 0-255: {self.stretch.text()}")
        return notes

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return rows of the image; `fill` where there are no data."""
        return self.read(rows)

    def read(self, rows: slice, columns: slice = WHOLE) -> np.ndarray:
        """Return a window of the image, (h, w, C); `fill` where there are no data."""
        pixels, valid = self.source.pixels(rows, columns), self.valid(rows, columns)
        if self.stretch is not None:
            pixels = self.stretch(pixels)
        if valid is not None:
            pixels = np.where(valid[..., None], pixels, self._fill)
        return pixels

    def valid(self, rows: slice, columns: slice = WHOLE) -> np.ndarray | None:
        """Return where a window has data, bool (h, w); None for everywhere."""
        return self.source.valid(rows, columns)


@dataclass(frozen=True)
class DecodedImage:
    """A decoded JPEG or PNG."""

    name: Path
    image: np.ndarray  # (H, W, C)
    alpha: np.ndarray | None  # (H, W)
    note: None = None

    @classmethod
    def of(
        cls, stored: np.ndarray, alpha: np.ndarray | None, read_options: ReadOptions, where: Path
    ) -> "DecodedImage":
        """Choose channels of what the decoder gives, (H, W) or BGR; DataError where it lacks them."""
        if stored.ndim == 2 and (read_options.is_colour or len(read_options.file_bands) == 1):
            return cls(where, np.repeat(stored[..., None], len(read_options.bands), axis=2), alpha)
        if stored.ndim == 2 or not read_options.is_colour:
            fact = f"is a {'grey' if stored.ndim == 2 else 'colour'} picture"
            bands = ", ".join(read_options.file_bands)
            raise DataError(where, fact, f"give a TIFF of the data set's bands, {bands}")
        channels = [STORED.index(name) for name in read_options.bands]
        return cls(where, stored if channels == [0, 1, 2] else stored[..., channels], alpha)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[:2]

    @property
    def dtype(self) -> np.dtype:
        """The type of a stored value."""
        return self.image.dtype

    def pixels(self, rows: slice, columns: slice = WHOLE) -> np.ndarray:
        """Return a window as stored, (h, w, C)."""
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
def open_image(path: Path, read_options: ReadOptions) -> Iterator[SceneImage]:
    """Open a JPEG, PNG, TIFF or GeoTIFF, known by its first bytes; DataError for what cannot be used.

    A TIFF is read in windows when rows are asked for; a JPEG or PNG is decoded whole.
    """
    if driver_of(path) == TIFF:
        with rasterio.Env(**SETTINGS), open_geotiff(path) as dataset:
            yield SceneImage.of(RasterBands.of(dataset, read_options), read_options, georeference_of(dataset))
    else:
        read_options.refuse_numbers_for(path)
        yield SceneImage.of(
            DecodedImage.of(*decode_as_stored(read_bytes(path), path), read_options, path), read_options
        )


def driver_of(path: Path) -> str | None:
    """Return which of GDAL's drivers reads a file, by its first bytes; None for what none does."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(8)
    except OSError:
        return None
    return next((driver for magic, driver in DRIVERS.items() if start.startswith(magic)), None)


def stated_size(path: Path) -> tuple[int, int]:
    """Return the pixels and the bands that a file's header states; 0 pixels where it states no size.

    Nothing is decoded, and no library reads the file: so this is safe with a file that would end the process.
    """
    try:
        with Path(path).open("rb") as file:
            if driver_of(path) == TIFF:
                tags = read_tags(file)
                return tags.get(HEIGHT, 0) * tags.get(WIDTH, 0), tags.get(SAMPLES, 1)
            height, width = stated_shape(file.read(HEADER)) or (0, 0)
    except OSError:
        return 0, 1
    return height * width, 1
