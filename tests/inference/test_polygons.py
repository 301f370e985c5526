"""Polygons of a map: those of the whole raster at once, however it is cut into strips."""

import math
from collections import Counter

import numpy as np
import pytest
import shapely
from rasterio.features import shapes
from scipy.ndimage import binary_dilation, label

from inference.pixel_area import PixelAreas
from inference.polygons import patches, sieved

IGNORE = 255
RASTERS = range(12)


def raster(seed: int) -> np.ndarray:
    """A random map of up to 24 x 24 pixels: noise, or squares of 3 x 3; a tenth without data."""
    rng = np.random.default_rng(seed)
    height, width, classes = rng.integers(1, 25), rng.integers(1, 25), rng.integers(1, 5)
    labels = rng.integers(0, classes, (height, width)).astype(np.uint8)
    if seed % 2:
        labels = labels[:9, :9].repeat(3, axis=0).repeat(3, axis=1)[:height, :width]
    labels[rng.random(labels.shape) < 0.1] = IGNORE
    return labels


def polygons_of(labels: np.ndarray, **options) -> list:
    return list(patches(labels.__getitem__, PixelAreas(labels.shape, 10.0), **options))


def strips_of(labels: np.ndarray) -> list[int]:
    """Sizes of strips: of a row, of two, of five, and the whole map."""
    return [labels.shape[1] * rows for rows in (1, 2, 5, 100)]


def plain(polygon) -> str:
    """A polygon as text, without points in the middle of straight lines."""
    return shapely.normalize(shapely.simplify(shapely.normalize(polygon), 0)).wkt


@pytest.mark.parametrize("seed", RASTERS)
def test_polygons_are_those_of_the_whole_raster_at_once(seed):
    labels = raster(seed)
    whole = shapes(labels, mask=labels != IGNORE, connectivity=4)
    expected = Counter((int(value), plain(shapely.geometry.shape(shape))) for shape, value in whole)
    for strip in strips_of(labels):
        found = polygons_of(labels, strip=strip)
        assert Counter((patch.label, plain(patch.polygon)) for patch in found) == expected
        points = sum(shapely.get_num_coordinates(patch.polygon) for patch in found)
        assert points == sum(
            shapely.get_num_coordinates(shapely.from_wkt(wkt)) for _, wkt in expected.elements()
        )


@pytest.mark.parametrize("seed", RASTERS)
def test_numbers_are_sums_over_the_pixels_of_a_component(seed):
    labels = raster(seed)
    rng = np.random.default_rng(seed)
    ground, sure = rng.random(labels.shape), rng.random(labels.shape)
    sure[rng.random(labels.shape) < 0.1] = np.nan

    class Uneven(PixelAreas):
        def rows(self, rows):
            return ground[rows]

    expected = []
    for value in set(labels.ravel().tolist()) - {IGNORE}:
        components, count = label(labels == value)
        for here in (components == number + 1 for number in range(count)):
            known = sure[here][~np.isnan(sure[here])]
            expected.append((value, here.sum(), ground[here].sum(), known.mean() if known.size else -1))
    for strip in strips_of(labels):
        found = list(patches(labels.__getitem__, Uneven(labels.shape), sure.__getitem__, strip=strip))
        rows = [(p.label, p.pixels, p.square_metres, np.nan_to_num(p.confidence, nan=-1)) for p in found]
        np.testing.assert_allclose(sorted(rows), sorted(expected))
        assert all(patch.polygon.area == pytest.approx(patch.pixels) for patch in found)
        assert all(patch.hectares == patch.square_metres / 10_000 for patch in found)


@pytest.mark.parametrize("seed", RASTERS)
def test_simplified_polygons_still_fit_together(seed):
    labels = raster(seed)
    for strip in strips_of(labels):
        exact, simple = polygons_of(labels, strip=strip), polygons_of(labels, strip=strip, tolerance=1.0)
        assert [(p.label, p.pixels) for p in simple] == [(p.label, p.pixels) for p in exact]
        drawn = [patch.polygon for patch in simple]
        assert all(polygon.is_valid and polygon.geom_type == "Polygon" for polygon in drawn)
        assert shapely.coverage_is_valid(drawn)  # no overlaps, and common borders have common points
        if not (labels == IGNORE).any():
            assert sum(polygon.area for polygon in drawn) == pytest.approx(labels.size)


def test_simplifying_takes_the_stairs_out_of_a_slope():
    labels = np.tri(40, dtype=np.uint8)
    exact, simple = polygons_of(labels), polygons_of(labels, tolerance=1.0)
    assert [len(patch.polygon.exterior.coords) for patch in exact] == [2 * 39 + 3, 2 * 40 + 3]
    assert max(len(patch.polygon.exterior.coords) for patch in simple) <= 8


def test_a_patch_is_given_as_soon_as_it_has_ended():
    """What is kept does not grow with the map's height."""
    labels = np.zeros((400, 6), np.uint8)
    labels[::4] = 1  # lines across, with areas of three rows between them
    rows_read = []

    def read(rows: slice) -> np.ndarray:
        rows_read.append(rows.stop)
        return labels[rows]

    for patch in patches(read, PixelAreas(labels.shape, 1.0), strip=60):
        assert rows_read[-1] <= patch.polygon.bounds[3] + 20


@pytest.mark.parametrize("value, count", [(IGNORE, 0), (3, 1)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1)])
def test_maps_of_one_value_have_one_polygon_or_none(shape, value, count):
    for tolerance in (0.0, 1.0):
        found = polygons_of(np.full(shape, value, np.uint8), strip=4, tolerance=tolerance)
        assert [(p.label, p.pixels, p.polygon.area) for p in found] == [
            (3, math.prod(shape), math.prod(shape))
        ] * count


@pytest.mark.parametrize("seed", RASTERS)
def test_the_sieve_leaves_no_small_patch_beside_a_larger_one(tmp_path, seed):
    labels, least = raster(seed), 5
    with sieved(labels.__getitem__, labels.shape, least, tmp_path) as read:
        kept = np.array(read(slice(0, len(labels))))
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(kept == IGNORE, labels == IGNORE)
    sizes = np.zeros(labels.shape, int)
    for value in set(kept.ravel().tolist()) - {IGNORE}:
        components, _ = label(kept == value)
        sizes += np.where(components > 0, np.bincount(components.ravel())[components], 0)
    for value in set(kept.ravel().tolist()) - {IGNORE}:
        components, count = label(kept == value)
        for here in (components == number + 1 for number in range(count)):
            if here.sum() < least:
                assert sizes[binary_dilation(here) & ~here].max(initial=0) < least


def test_a_small_patch_takes_the_class_of_its_largest_neighbour(tmp_path):
    labels = np.array([[0, 0, 0, 0], [0, 1, 2, 2], [0, 0, 0, 0], [IGNORE, IGNORE, IGNORE, 3]], np.uint8)
    labels[3, 3], labels[2, 3] = 3, IGNORE  # alone among pixels without data
    with sieved(labels.__getitem__, labels.shape, 2, tmp_path) as read:
        np.testing.assert_array_equal(read(slice(0, 4)), np.where(labels == 1, 0, labels))
