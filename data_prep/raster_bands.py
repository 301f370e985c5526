"""The image in a TIFF, read in windows: which bands it is made of, palettes, nodata, alpha."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags

from common.datasets import RGB
from common.errors import DataError
from data_prep.geotiff import read_window, valid_window
from data_prep.read_options import WHOLE, ReadOptions

COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class RasterBands:
    """The channels of an open dataset. `bands` are their numbers, `palette` (256, C) values by index."""

    dataset: rasterio.DatasetReader
    bands: tuple[int, ...]
    palette: np.ndarray | None

    @classmethod
    def of(cls, dataset: rasterio.DatasetReader, read_options: ReadOptions) -> "RasterBands":
        """Choose the bands; DataError for a raster that does not have them, or not of one type."""
        numbers = _numbers(dataset, read_options)
        bands = tuple(numbers[band] for band in read_options.bands)
        kinds = {dataset.dtypes[band - 1] for band in bands}
        if len(kinds) > 1 or np.dtype(min(kinds)).kind not in "iuf":
            fact = f"has bands of {', '.join(sorted(kinds))}"
            raise DataError(dataset.name, fact, "export the bands as one type of real numbers")
        return cls(dataset, bands, _palette(dataset, bands[0], read_options))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.dataset.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of a stored value; that of the palette's colours where there is one."""
        return np.dtype(np.uint8 if self.palette is not None else self.dataset.dtypes[self.bands[0] - 1])

    def pixels(self, rows: slice, columns: slice = WHOLE) -> np.ndarray:
        """Return a window as stored, (h, w, C)."""
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
        """Return (pixels (h, w, C), valid (h, w)) of at most side x side pixels spread over the scene."""
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
        return np.repeat(band[..., None], len(self.bands), axis=2)


def _numbers(dataset: rasterio.DatasetReader, read_options: ReadOptions) -> dict[str, int]:
    """Return the number of each of the data set's bands in the file."""
    names, kinds = read_options.file_bands, dataset.colorinterp
    if read_options.numbers is not None:
        read_options.check_numbers(dataset.name, dataset.count)
        return dict(zip(names, read_options.numbers, strict=True))
    by_kind = {name: kinds.index(kind) + 1 for name, kind in zip(RGB, COLOURS, strict=True) if kind in kinds}
    if read_options.is_colour and len(by_kind) == 3:
        return by_kind
    data = [number for number, kind in enumerate(kinds, 1) if kind != ColorInterp.alpha]
    if len(data) == 1 and (read_options.is_colour or len(names) == 1):
        return dict.fromkeys(names, data[0])
    found = f"has {dataset.count} bands ({', '.join(kind.name for kind in kinds)})"
    if len(data) != len(names):
        example = " ".join(map(str, range(1, len(names) + 1)))
        remedy = f"say by --bands which are {', '.join(names)}, as --bands {example}"
        raise DataError(dataset.name, found, remedy)
    numbers = dict(zip(names, data, strict=True))
    if len(by_kind) == 3:
        for name, number in by_kind.items():
            if numbers.get(name, number) != number:
                fact = f"{found}: {name} is band {number}, by the data set it is band {numbers[name]}"
                raise DataError(
                    dataset.name, fact, "say by --bands which number each band of the data set has"
                )
    return numbers


def _palette(dataset: rasterio.DatasetReader, band: int, read_options: ReadOptions) -> np.ndarray | None:
    """Return the palette of a band, (256, C) uint8, or None."""
    if dataset.colorinterp[band - 1] != ColorInterp.palette:
        return None
    if not read_options.is_colour:
        fact = f"has a palette, whose colours are not {', '.join(read_options.bands)}"
        raise DataError(dataset.name, fact, "export it without a palette")
    if dataset.dtypes[band - 1] != "uint8":
        fact = f"has a palette of {dataset.dtypes[band - 1]} values"
        raise DataError(dataset.name, fact, "export it as 8-bit RGB")
    channels = [RGB.index(name) for name in read_options.bands]
    table = np.zeros((256, len(channels)), np.uint8)
    for value, colour in dataset.colormap(band).items():
        table[value] = [colour[channel] for channel in channels]
    return table
