"""The image in a TIFF, read in windows: which bands are red, green and blue, palettes, nodata, alpha."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags

from common.errors import DataError
from data_prep.geotiff import read_window, valid_window
from data_prep.reading import WHOLE

RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class RasterBands:
    """An open dataset as BGR. `bands` are the numbers of B, G and R; `palette` (256, 3) is BGR."""

    dataset: rasterio.DatasetReader
    bands: tuple[int, int, int]
    palette: np.ndarray | None

    @classmethod
    def of(cls, dataset: rasterio.DatasetReader, rgb: tuple[int, int, int] | None) -> "RasterBands":
        """Choose the bands, `rgb` if given; DataError for a raster that shows no grey or RGB image."""
        bands = _bgr(dataset, rgb)
        kinds = {dataset.dtypes[band - 1] for band in bands}
        if len(kinds) > 1 or np.dtype(min(kinds)).kind not in "iuf":
            fact = f"has bands of {', '.join(sorted(kinds))}"
            raise DataError(dataset.name, fact, "export the bands as one type of real numbers")
        return cls(dataset, bands, _palette(dataset, bands[0]))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.dataset.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of a stored value; that of the palette's colours where there is one."""
        return np.dtype(np.uint8 if self.palette is not None else self.dataset.dtypes[self.bands[0] - 1])

    def pixels(self, rows: slice, columns: slice = WHOLE) -> np.ndarray:
        """Return a window as stored, (h, w, 3) BGR."""
        window = self._window(rows, columns)
        if len(set(self.bands)) == 1:
            return self._coloured(read_window(self.dataset, self.bands[0], *window))
        return read_window(self.dataset, list(self.bands), *window).transpose(1, 2, 0)

    def valid(self, rows: slice, columns: slice = WHOLE) -> np.ndarray | None:
        """Return where a window has data, bool (h, w), by nodata, mask, alpha or NaN; None for everywhere."""
        window = self._window(rows, columns)
        flags = set(chain.from_iterable(self.dataset.mask_flag_enums))
        valid = None
        if flags != {MaskFlags.all_valid} or ColorInterp.alpha in self.dataset.colorinterp:
            valid = valid_window(self.dataset, *window)
        if self.dtype.kind == "f":
            finite = np.isfinite(self.pixels(*window)).all(axis=-1)
            valid = finite if valid is None else valid & finite
        return valid

    def sample(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (pixels (h, w, 3), valid (h, w)) of at most side x side pixels spread over the scene."""
        whole = self._window(WHOLE, WHOLE)
        shape = tuple(min(length, side) for length in self.shape)
        pixels = read_window(self.dataset, list(self.bands), *whole, shape)
        return pixels.transpose(1, 2, 0), valid_window(self.dataset, *whole, shape)

    def _window(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return both as slices from 0 that do not reach beyond the image."""
        spans = zip((rows, columns), self.shape, strict=True)
        return tuple(slice(*span.indices(length)[:2]) for span, length in spans)

    def _coloured(self, band: np.ndarray) -> np.ndarray:
        if self.palette is not None:
            return self.palette[band]
        return np.repeat(band[..., None], 3, axis=2)


def _bgr(dataset: rasterio.DatasetReader, rgb: tuple[int, int, int] | None) -> tuple[int, int, int]:
    kinds = dataset.colorinterp
    if rgb is not None:
        if max(rgb) > dataset.count:
            fact = f"band {max(rgb)} of {dataset.count} in {dataset.name}"
            raise DataError("--bands", fact, "give numbers of bands that are there")
        return rgb[::-1]
    if all(kind in kinds for kind in RGB):
        return tuple(kinds.index(kind) + 1 for kind in RGB[::-1])
    colours = [number for number, kind in enumerate(kinds, 1) if kind != ColorInterp.alpha]
    if len(colours) == 1:
        return (colours[0],) * 3
    if len(colours) == 3:
        return tuple(colours[::-1])
    fact = f"has {dataset.count} bands ({', '.join(kind.name for kind in kinds)})"
    raise DataError(dataset.name, fact, "say by --bands which are red, green and blue, as --bands 3 2 1")


def _palette(dataset: rasterio.DatasetReader, band: int) -> np.ndarray | None:
    """Return the palette of a band, (256, 3) BGR uint8, or None."""
    if dataset.colorinterp[band - 1] != ColorInterp.palette:
        return None
    if dataset.dtypes[band - 1] != "uint8":
        fact = f"has a palette of {dataset.dtypes[band - 1]} values"
        raise DataError(dataset.name, fact, "export it as 8-bit RGB")
    table = np.zeros((256, 3), np.uint8)
    for value, colour in dataset.colormap(band).items():
        table[value] = colour[2::-1]
    return table
