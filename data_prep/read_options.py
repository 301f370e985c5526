"""How images are read: which bands, and which values become 0 and 255."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from common.datasets import RGB, Dataset
from common.errors import DataError
from common.numbers import FLOAT_MAX

PERCENTILES = (2, 98)  # of the valid pixels of each band


@dataclass(frozen=True)
class Stretch:
    """For each band the values that become 0 and 255; what lies outside is clipped."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, pixels: np.ndarray, valid: np.ndarray) -> "Stretch":
        """Return that from the 2nd to the 98th percentile of `pixels` (h, w, C) where `valid` (h, w)."""
        sample = pixels[valid].astype(np.float64)
        sample = sample[np.isfinite(sample).all(axis=-1)]
        if not len(sample):
            return cls((0.0,) * pixels.shape[-1], (1.0,) * pixels.shape[-1])
        low, high = np.percentile(sample, PERCENTILES, axis=0)
        return cls(tuple(low.tolist()), tuple(high.tolist()))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return (h, w, C) float32 in 0-255, reckoned in float64 where float32 does not hold the values."""
        held = np.can_cast(pixels.dtype, np.float32) and max(map(abs, (*self.low, *self.high))) <= FLOAT_MAX
        kind = np.float32 if held else np.float64
        low = np.asarray(self.low, kind)
        span = np.asarray(self.high, kind) - low
        span[span <= 0] = 1  # a band with one value alone
        stretched = np.clip((pixels.astype(kind) - low) * (kind(255) / span), 0, 255)
        return stretched.astype(np.float32, copy=False)

    def text(self) -> str:
        """Say what becomes 0 and 255, band by band."""
        pairs = zip(self.low, self.high, strict=True)
        return ", ".join(f"{low:g} to {high:g}" for low, high in pairs)


WHOLE = slice(None)
ROWS = 16  # of each of five strips by which an image's units are judged
OUTSIDE = 0.99  # share of pixels outside the stretch in every band that is too large
SAMPLED = 1024  # pixels a side that a stretch is estimated from


@dataclass(frozen=True)
class ReadOptions:
    """How images are read.

    `bands` are the channels of what is read, `file_bands` the data set's names of a file's bands, in the
    file's order. `numbers` are the numbers in the file, from 1, of each of `file_bands` (None: as the file
    says, or in its order). `stretch` holds the values that become 0 and 255 in images of more than 8 bits
    (None: the 2nd and 98th percentile of each band). `fill`, of each channel in 0-255, stands where an
    image has no data.
    """

    bands: tuple[str, ...] = RGB[::-1]
    file_bands: tuple[str, ...] = RGB
    numbers: tuple[int, ...] | None = None
    stretch: tuple[float, float] | None = None
    fill: Sequence[float] = (0,)

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        bands: tuple[str, ...] | None = None,
        numbers: Sequence[int] | None = None,
        fill: Sequence[float] = (0,),
    ) -> "ReadOptions":
        """Return how images of a data set are read: `bands` (None: all) of them, by its stretch."""
        numbers = None if numbers is None else tuple(numbers)
        return cls(bands or dataset.bands, dataset.bands, numbers, dataset.stretch, fill)

    def __post_init__(self) -> None:
        """Raise DataError for a stretch or bands that make no image."""
        if self.stretch is not None:
            low, high = self.stretch
            if not (math.isfinite(low) and math.isfinite(high)):
                raise DataError("--stretch", f"is {low:g} {high:g}", "give finite values")
            if not low < high:
                raise DataError("--stretch", f"is {low:g} {high:g}", "give the lower value first")
        if self.numbers is not None:
            numbers = " ".join(map(str, self.numbers))
            if len(self.numbers) != len(self.file_bands):
                fact = f"is {numbers}, and there are the bands {', '.join(self.file_bands)}"
                raise DataError("--bands", fact, "give one number for each")
            if min(self.numbers) < 1:
                raise DataError("--bands", f"is {numbers}", "count bands from 1")
            if len(set(self.numbers)) < len(self.numbers):
                raise DataError(
                    "--bands", f"is {numbers}", "give each band of the data set a number of its own"
                )
        if lacking := [band for band in self.bands if band not in self.file_bands]:
            fact = f"has no band {lacking[0]}, it has {', '.join(self.file_bands)}"
            raise DataError("the data set", fact, "use one of the same bands")

    @property
    def is_colour(self) -> bool:
        """Whether the bands are of a colour picture: grey stands for all of them."""
        return set(self.file_bands) <= set(RGB)

    def check_numbers(self, path: object, count: int) -> None:
        """Raise DataError where a number is chosen that none of the `count` bands of `path` has."""
        if self.numbers is not None and max(self.numbers) > count:
            fact = f"band {max(self.numbers)} of {count} in {path}"
            raise DataError("--bands", fact, "give numbers of bands that are there")

    def refuse_numbers_for(self, path: Path) -> None:
        """Raise DataError where numbers of bands are chosen for `path`, a picture."""
        if self.numbers is not None:
            raise DataError("--bands", f"given for {path}, which is not a TIFF", "leave it out")

    def stretch_of(self, pixels: "PixelSource") -> Stretch | None:
        """Return the stretch of an image of more than 8 bits; None for one of 8."""
        if pixels.dtype == np.uint8:
            return None
        if self.stretch is None:
            return self._measured(pixels)
        self._check_units(pixels)
        return self._fixed

    @property
    def _fixed(self) -> Stretch:
        low, high = self.stretch
        return Stretch((low,) * len(self.bands), (high,) * len(self.bands))

    def note_of(self, pixels: "PixelSource") -> str | None:
        """Return a line on an image that the given stretch does not concern; None for others."""
        if self.stretch is None or pixels.dtype != np.uint8:
            return None
        low, high = self.stretch
        return f"8 bits, taken as they are: the stretch {low:g} to {high:g} is for deeper images"

    def _check_units(self, pixels: "PixelSource") -> None:
        """Raise DataError where the given stretch leaves nothing of an image: its values have other units.

        Judged by some rows. One band alone may lie outside, as near infrared over water does.
        """
        low, high = self.stretch
        height = pixels.shape[0]
        tops = {round(part * max(height - ROWS, 0)) for part in (0, 0.25, 0.5, 0.75, 1)}
        strips = [slice(top, min(top + ROWS, height)) for top in sorted(tops)]
        found = [(pixels.pixels(rows), pixels.valid(rows)) for rows in strips]
        values = np.concatenate(
            [part[... if valid is None else valid].reshape(-1, part.shape[-1]) for part, valid in found]
        )
        values = values[np.isfinite(values).all(axis=-1)]
        levels = np.rint(self._fixed(values))
        inside = ((levels > 0) & (levels < 255)) | (values == low) | (values == high)
        if not len(values) or inside.mean(axis=0).max() > 1 - OUTSIDE:
            return
        least, most = np.percentile(values, PERCENTILES)
        fact = f"has values of {least:g} to {most:g}, nearly all outside the stretch {low:g} to {high:g}"
        remedy = "give images in the units of the data set, or the data set a stretch for these"
        raise DataError(pixels.name, fact, remedy)

    def _measured(self, pixels: "PixelSource") -> Stretch:
        """Return the stretch of a sample; DataError where that has nearly one value, and the image others."""
        sample, valid = pixels.sample(SAMPLED)
        stretch = Stretch.of(sample, valid)
        whole = sample.shape[:2] == pixels.shape
        finite = sample[valid & np.isfinite(sample).all(axis=-1)]
        for band, low, high, values in zip(self.bands, stretch.low, stretch.high, finite.T, strict=True):
            if low == high and not (whole and (values == low).all()):
                fact = f"is {low:g} in nearly all of {band}: what becomes 0 and 255 is not known"
                remedy = (
                    "say where it has no data (`rio edit-info --nodata 0`), or give the data set a stretch"
                )
                raise DataError(pixels.name, fact, remedy)
        return stretch


class PixelSource(Protocol):
    """Where pixels come from: a decoded picture, or a raster read in windows. C channels are those read."""

    name: object  # the file
    note: str | None  # what of the file is not applied
    shape: tuple[int, int]
    dtype: np.dtype

    def pixels(self, rows: slice, columns: slice = WHOLE) -> np.ndarray:
        """Return a window as stored, (h, w, C)."""

    def valid(self, rows: slice, columns: slice = WHOLE) -> np.ndarray | None:
        """Return where a window has data, bool (h, w); None for everywhere."""

    def sample(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (pixels (h, w, C), valid (h, w)) of about side x side pixels spread over the scene."""
