"""The ground that a map's pixels cover, in square metres on the CRS's ellipsoid.

A projection says where a pixel lies, not how large it is: Web Mercator doubles areas at a latitude of 45
degrees, and UTM is off by up to 0.1 %. So areas are measured in an equal-area projection of the same
ellipsoid, whatever the map's own CRS is: Lambert's cylindrical one where a row of pixels lies along a
parallel, which is a straight line there; else his azimuthal one round the map's centre.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pyproj import CRS, Transformer
from pyproj.crs import ProjectedCRS
from pyproj.crs.coordinate_operation import (
    LambertAzimuthalEqualAreaConversion,
    LambertCylindricalEqualAreaConversion,
)
from pyproj.exceptions import CRSError, ProjError

from common.datasets import IGNORE
from common.errors import DataError
from data_prep.geotiff import Georeference

BLOCK = 16  # pixels a side that count as equally large in a projected CRS
HECTARE = 10_000  # square metres
PIXEL_SIZE = "give --pixel-size METRES"
SIDES = 0.001, 100_000  # metres of a pixel's side that make sense: a microscope's to a climate model's


@dataclass(frozen=True)
class PixelAreas:
    """How large the pixels of one map of `shape` (H, W) are.

    Either `side` is the side of all pixels in metres, or `crs` says where they lie. `from_pixels` is the
    affine transform of (column, row), None for a picture.
    """

    shape: tuple[int, int]
    side: float | None = None
    crs: CRS | None = None
    from_pixels: object = None

    @classmethod
    def of(
        cls,
        path: Path,
        georeference: Georeference | None,
        shape: tuple[int, int],
        pixel_size: float | None = None,
    ) -> "PixelAreas":
        """Return the areas of a map's pixels; `georeference` is None for a picture.

        `pixel_size` is the side of a pixel in metres where nothing says where the map lies. Raises DataError
        where it is missing or given beside a CRS, and for a CRS that is neither geographic nor projected.
        """
        crs, from_pixels = (georeference and georeference.grid) or (None, None)
        if crs is None:
            if pixel_size is None:
                fact = "has no CRS" if from_pixels else "has no georeference"
                raise DataError(path, f"{fact}: nothing says how large a pixel is", PIXEL_SIZE)
            if not SIDES[0] <= pixel_size <= SIDES[1]:
                remedy = f"give the side of a pixel in metres, {SIDES[0]:g} to {SIDES[1]:,}"
                raise DataError("--pixel-size", f"is {pixel_size:g}", remedy)
            return cls(shape, pixel_size, None, from_pixels)
        if pixel_size is not None:
            fact = f"has a CRS, and --pixel-size {pixel_size:g} says its pixels' size too"
            raise DataError(path, fact, "leave --pixel-size out")
        return cls(shape, None, horizontal_crs(path, crs), from_pixels)

    def rows(self, rows: slice) -> np.ndarray:
        """Return the area of each pixel of some rows in square metres, float64.

        Its shape is (h, W), or (h, 1) where all pixels of a row are equal: it broadcasts against labels.
        """
        top, bottom, _ = rows.indices(self.shape[0])
        if self.side is not None:
            return np.full((bottom - top, 1), self.side**2)
        if self._alike_in_rows:
            middle = self.shape[1] // 2
            return self._means(np.arange(top, bottom + 1), np.array([middle, middle + 1]))
        # Blocks are those of the whole map, so that an area does not depend on the rows asked for.
        first = top - top % BLOCK
        row_edges = np.append(
            np.arange(first, bottom, BLOCK), min(-(-bottom // BLOCK) * BLOCK, self.shape[0])
        )
        column_edges = np.append(np.arange(0, self.shape[1], BLOCK), self.shape[1])
        means = self._means(row_edges, column_edges)
        means = means.repeat(np.diff(row_edges), axis=0)[top - first : bottom - first]
        return means.repeat(np.diff(column_edges), axis=1)

    @property
    def _alike_in_rows(self) -> bool:
        """Whether a row of pixels lies along a parallel: then all its pixels are equal."""
        return self.crs.is_geographic and self.from_pixels.b == self.from_pixels.d == 0

    @cached_property
    def _to_equal_area(self) -> Transformer:
        """The way from the CRS to an equal-area one of its ellipsoid."""
        geodetic = self.crs.geodetic_crs
        centre = self.from_pixels @ (self.shape[1] / 2, self.shape[0] / 2)
        longitude, latitude = Transformer.from_crs(self.crs, geodetic, always_xy=True).transform(*centre)
        if self._alike_in_rows:
            conversion = LambertCylindricalEqualAreaConversion(0, longitude)
        else:
            conversion = LambertAzimuthalEqualAreaConversion(latitude, longitude)
        return Transformer.from_crs(self.crs, ProjectedCRS(conversion, geodetic_crs=geodetic), always_xy=True)

    def _means(self, row_edges: np.ndarray, column_edges: np.ndarray) -> np.ndarray:
        """Return the mean area of the pixels in each block between edges, (rows - 1, columns - 1)."""
        x, y = self._to_equal_area.transform(*(self.from_pixels @ np.meshgrid(column_edges, row_edges)))
        # Of a quadrilateral, half the product of its diagonals.
        x_falling, y_falling = x[1:, 1:] - x[:-1, :-1], y[1:, 1:] - y[:-1, :-1]
        x_rising, y_rising = x[:-1, 1:] - x[1:, :-1], y[:-1, 1:] - y[1:, :-1]
        areas = abs(x_falling * y_rising - y_falling * x_rising) / 2
        return areas / np.outer(np.diff(row_edges), np.diff(column_edges))


def horizontal_crs(path: Path, crs: object) -> CRS:
    """Return rasterio's CRS as pyproj's, without heights; DataError if not geographic or projected."""
    try:
        with warnings.catch_warnings(action="ignore"):
            horizontal = CRS.from_wkt(crs.to_wkt()).to_2d()
    except (CRSError, ProjError) as error:
        fact = f"has a CRS that PROJ cannot read ({' '.join(str(error).split())})"
        raise DataError(path, fact, "give it the right one, as with rio edit-info --crs") from error
    while horizontal.is_bound or horizontal.is_compound:
        horizontal = horizontal.source_crs if horizontal.is_bound else horizontal.sub_crs_list[0]
    if not (horizontal.is_geographic or horizontal.is_projected):
        fact = f"has the CRS {horizontal.name}, neither geographic nor projected"
        raise DataError(path, fact, "give it the right one, as with rio edit-info --crs")
    return horizontal


def square_metres_by_label(labels: np.ndarray, areas: np.ndarray, count: int = IGNORE + 1) -> np.ndarray:
    """Return the ground of each label in `labels` (h, w), float64 (count,); `areas` as `rows` gives them."""
    return np.bincount(labels.ravel(), np.broadcast_to(areas, labels.shape).ravel(), count)
