"""Polygons of any map: their areas are its pixels, and together they cover each pixel once."""

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inference.pixel_area import PixelAreas
from inference.polygons import patches

IGNORE = 255
maps = arrays(
    np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 0, 1, 2, IGNORE])
)


def flooded(labels: np.ndarray) -> list[tuple[int, int]]:
    """The class and the size of each patch, by going from neighbour to neighbour."""
    left = {(row, column) for row, column in np.ndindex(labels.shape) if labels[row, column] != IGNORE}
    found = []
    while left:
        label, size, at = int(labels[next(iter(left))]), 0, [next(iter(left))]
        while at:
            place = at.pop()
            if place in left and labels[place] == label:
                left.discard(place)
                size += 1
                row, column = place
                at += [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        found.append((label, size))
    return sorted(found)


@given(maps, st.integers(1, 40), st.floats(0.1, 1000))
def test_areas_are_the_pixels_and_each_pixel_lies_in_one_polygon_of_its_class(labels, strip, side):
    found = list(patches(labels.__getitem__, PixelAreas(labels.shape, side), strip=strip))
    assert sorted((patch.label, patch.pixels) for patch in found) == flooded(labels)
    middles = shapely.points([(column + 0.5, row + 0.5) for row, column in np.ndindex(labels.shape)])
    covering = np.zeros(labels.size, int)
    for patch in found:
        assert patch.polygon.is_valid
        assert abs(patch.polygon.area - patch.pixels) < 1e-9
        np.testing.assert_allclose(patch.square_metres, patch.pixels * side**2)
        inside = shapely.contains(patch.polygon, middles)
        assert inside.sum() == patch.pixels
        assert set(labels.ravel()[inside].tolist()) == {patch.label}
        covering += inside
    np.testing.assert_array_equal(covering, labels.ravel() != IGNORE)


@given(maps.filter(lambda labels: (labels != IGNORE).all()), st.integers(1, 40), st.floats(0, 3))
def test_polygons_of_a_map_without_gaps_cover_its_rectangle_simplified_or_not(labels, strip, tolerance):
    found = list(patches(labels.__getitem__, PixelAreas(labels.shape, 1.0), tolerance=tolerance, strip=strip))
    whole = shapely.union_all([patch.polygon for patch in found])
    height, width = labels.shape
    assert shapely.symmetric_difference(whole, shapely.box(0, 0, width, height)).area < 1e-9
    assert abs(sum(patch.polygon.area for patch in found) - labels.size) < 1e-9
