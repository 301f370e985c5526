"""The image in a TIFF, read in windows: which bands it is made of, palettes, nodata, alpha."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags

from common.datasets import RGB
from common.errors import DataError
from common.numbers import plural
from data_prep.geotiff import read_window, valid_window
from data_prep.read_options import WHOLE, ReadOptions

COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class RasterBands:
    """The channels of an open dataset. `bands` are their numbers, `palette` (256, C) values by index.

    `transparency` says whether an alpha band gives where there are data, and is not one of the bands.
    """

    dataset: rasterio.DatasetReader
    bands: tuple[int, ...]
    palette: np.ndarray | None
    transparency: bool = True

    @classmethod
    def of(cls, dataset: rasterio.DatasetReader, read_options: ReadOptions) -> "RasterBands":
        """Choose the bands; DataError for a raster that does not have them, or not of one type."""
        numbers = _numbers(dataset, read_options)
        bands = tuple(numbers[band] for band in read_options.bands)
        kinds = {dataset.dtypes[band - 1] for band in bands}
        if len(kinds) > 1 or np.dtype(min(kinds)).kind not in "iuf":
            fact = f"has bands of {', '.join(sorted(kinds))}"
            raise DataError(dataset.name, fact, "export the bands as one type of real numbers")
        palette = _palette(dataset, bands[0], read_options)
        bits = {dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS", "8") for band in bands}
        if palette is None and kinds == {"uint8"} and bits != {"8"}:
            fact = f"has bands of {min(bits)} bits"
            raise DataError(dataset.name, fact, "export them with 8 bits, black as 0 and white as 255")
        _refuse_other_units(dataset, bands)
        alpha = any(dataset.colorinterp[number - 1] == ColorInterp.alpha for number in numbers.values())
        return cls(dataset, bands, palette, not alpha)

    @property
    def name(self) -> str:
        """The file's path."""
        return self.dataset.name

    @property
    def note(self) -> str | None:
        """What of the file is not applied, in words, or None."""
        scale, offset = (values[self.bands[0] - 1] for values in (self.dataset.scales, self.dataset.offsets))
        if (scale, offset) == (1, 0):
            return None
        return f"values as stored, without the file's scale {scale:g} and offset {offset:g}"

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
            valid = self._valid(window)
        if self.dtype.kind == "f":
            finite = np.isfinite(self.pixels(*window)).all(axis=-1)
            valid = finite if valid is None else valid & finite
        return valid

    def sample(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (pixels (h, w, C), valid (h, w)) of at most side x side pixels spread over the scene."""
        window = self._window(WHOLE, WHOLE)
        shape = tuple(min(length, side) for length in self.shape)
        pixels = read_window(self.dataset, list(self.bands), *window, shape)
        return pixels.transpose(1, 2, 0), self._valid(window, shape)

    def _valid(self, window: tuple[slice, slice], shape: tuple[int, int] | None = None) -> np.ndarray:
        """Return where a window has data by the file.

        In 8 bits a nodata value is a colour's level too, as the 0 of black: there all bands must have it. In
        deeper images it is not a measurement in any band.
        """
        flags = self.dataset.mask_flag_enums[0]  # all_valid or alpha: no nodata value and no mask inside
        if not self.transparency and {MaskFlags.all_valid, MaskFlags.alpha}.intersection(flags):
            return np.ones(shape or tuple(part.stop - part.start for part in window), bool)
        deep = self.dtype != np.uint8
        bands = self.bands if deep or not self.transparency else ()
        return valid_window(self.dataset, *window, shape, bands, deep, self.transparency)

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
        _refuse_other_descriptions(dataset, by_kind, "by its colours")
        return by_kind
    data = [number for number, kind in enumerate(kinds, 1) if kind != ColorInterp.alpha]
    if len(data) == 1 and (read_options.is_colour or len(names) == 1):
        return dict.fromkeys(names, data[0])
    actual = f"has {plural(dataset.count, 'band')} ({', '.join(kind.name for kind in kinds)})"
    if len(data) != len(names):
        if dataset.count < len(names):
            fact = f"{actual}, the data set {len(names)}: {', '.join(names)}"
            raise DataError(dataset.name, fact, "give a file with all of them")
        example = " ".join(map(str, range(1, len(names) + 1)))
        remedy = f"say by --bands which are {', '.join(names)}, as --bands {example}"
        raise DataError(dataset.name, actual, remedy)
    numbers = dict(zip(names, data, strict=True))
    if len(by_kind) == 3:
        for name, number in by_kind.items():
            if numbers.get(name, number) != number:
                fact = f"{actual}: {name} is band {number}, by the data set it is band {numbers[name]}"
                raise DataError(
                    dataset.name, fact, "say by --bands which number each band of the data set has"
                )
    _refuse_other_descriptions(dataset, numbers, "by the data set")
    return numbers


def _refuse_other_descriptions(dataset: rasterio.DatasetReader, numbers: dict[str, int], by: str) -> None:
    """Raise DataError where the file describes a band by the name of another one."""
    for number, text in enumerate(dataset.descriptions, 1):
        for name, expected in numbers.items():
            if text and text.casefold() == name.casefold() and number != expected:
                fact = f"describes band {number} as {text}, {by} {name} is band {expected}"
                raise DataError(
                    dataset.name, fact, "say by --bands which number each band of the data set has"
                )


def _refuse_other_units(dataset: rasterio.DatasetReader, bands: tuple[int, ...]) -> None:
    """Raise DataError where bands have scales or offsets of their own: their numbers are of several units."""
    units = {(dataset.scales[band - 1], dataset.offsets[band - 1]) for band in bands}
    if len(units) > 1 or min(units)[0] <= 0:
        pairs = ", ".join(f"{scale:g} and {offset:g}" for scale, offset in sorted(units))
        remedy = "export its bands in one unit, as with `gdal_translate -unscale`"
        raise DataError(dataset.name, f"has bands of different scale and offset ({pairs})", remedy)


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
