"""The ground of pixels is that of the ellipsoid, whatever the projection makes of it."""

import numpy as np
import pyproj
import pytest
from affine import Affine
from rasterio.crs import CRS

from common.errors import DataError
from data_prep.geotiff import Georeference
from inference.pixel_area import PixelAreas, square_metres_by_label

SHAPE = (60, 90)
FEET = "+proj=tmerc +lat_0=40 +lon_0=-74 +ellps=GRS80 +units=us-ft"
PLACES = {
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 13, 0, -1e-4, 52)),
    "degrees of another ellipsoid, rows upwards": ("EPSG:4267", Affine(1e-4, 0, -80, 0, 1e-4, 30)),
    "large degrees to the pole": ("EPSG:4326", Affine(4, 0, -180, 0, -1.5, 90)),
    "across the antimeridian": ("EPSG:4326", Affine(0.01, 0, 179.5, 0, -0.01, -16)),
    "turned degrees": ("EPSG:4326", Affine(1e-4, 2e-5, 13, 1e-5, -1e-4, 52)),
    "UTM's middle": ("EPSG:32633", Affine(10, 0, 500000, 0, -10, 5500000)),
    "UTM's edge": ("EPSG:32633", Affine(10, 0, 166000, 0, -10, 200000)),
    "UTM zone 1, across the antimeridian": ("EPSG:32601", Affine(10, 0, 163000, 0, -10, 7500000)),
    "Web Mercator": ("EPSG:3857", Affine(10, 0, 1e6, 0, -10, 8.4e6)),
    "the south pole": ("EPSG:3031", Affine(100, 0, -4500, 0, -100, 3000)),
    "feet": (FEET, Affine(30, 10, 900, 10, -30, 800)),
    "with heights": ("EPSG:7415", Affine(5, 0, 120000, 0, -5, 480000)),  # compound
}


def place(crs, transform) -> Georeference:
    return Georeference(CRS.from_user_input(crs) if crs else None, transform, ([], None), None)


def geodesic_area(crs: str, transform: Affine, row: int, column: int) -> float:
    """Area of a pixel by pyproj's geodesics between 40 points on each of its sides."""
    horizontal = pyproj.CRS(crs)
    horizontal = horizontal.sub_crs_list[0] if horizontal.is_compound else horizontal
    side, none = np.linspace(0, 1, 40, endpoint=False), np.zeros(40)
    columns = column + np.concatenate([side, none + 1, 1 - side, none])
    rows = row + np.concatenate([none, side, none + 1, 1 - side])
    way = pyproj.Transformer.from_crs(horizontal, horizontal.geodetic_crs, always_xy=True)
    ring = way.transform(*(transform @ (columns, rows)))
    return abs(horizontal.get_geod().polygon_area_perimeter(*ring)[0])


@pytest.mark.parametrize("name", PLACES)
def test_a_pixels_area_is_the_geodesic_one(name):
    crs, transform = PLACES[name]
    areas = PixelAreas.of("a.tif", place(crs, transform), SHAPE)
    for row, column in ((0, 0), (31, 47), (59, 89)):
        pixels = np.broadcast_to(areas.rows(slice(row, row + 1)), (1, SHAPE[1]))
        assert pixels[0, column] == pytest.approx(geodesic_area(crs, transform, row, column), rel=5e-5)


def test_of_an_equal_area_projection_it_is_the_side_squared():
    areas = PixelAreas.of("a.tif", place("EPSG:3035", Affine(10, 0, 3e6, 0, -10, 2e6)), SHAPE)
    np.testing.assert_allclose(areas.rows(slice(0, 60)), 100, rtol=1e-6)


def test_web_mercator_doubles_areas_at_45_degrees():
    areas = PixelAreas.of("a.tif", place("EPSG:3857", Affine(10, 0, 0, 0, -10, 5621521)), SHAPE)
    assert areas.rows(slice(0, 1))[0, 0] == pytest.approx(50, rel=0.01)


@pytest.mark.parametrize("name", ["degrees", "UTM's edge", "turned degrees"])
def test_an_area_does_not_depend_on_the_rows_asked_for(name):
    areas = PixelAreas.of("a.tif", place(*PLACES[name]), SHAPE)
    whole = areas.rows(slice(0, 60))
    for top, bottom in ((0, 1), (15, 17), (16, 32), (5, 60)):
        np.testing.assert_array_equal(areas.rows(slice(top, bottom)), whole[top:bottom])


def test_ground_by_label_is_the_sum_over_its_pixels():
    labels = np.array([[0, 1, 1], [1, 255, 0]], np.uint8)
    for areas, expected in (([[2.0], [3.0]], [5, 7, 3]), ([[1.0, 2, 4], [8, 16, 32]], [33, 14, 16])):
        ground = square_metres_by_label(labels, np.array(areas))
        assert ground[[0, 1, 255]].tolist() == expected
        assert ground.sum() == sum(expected)


def test_a_map_without_a_crs_has_the_pixel_size_that_is_given():
    for where in (None, place(None, Affine.identity()), place(None, Affine.scale(3, -3))):
        areas = PixelAreas.of("a.png", where, SHAPE, 0.5)
        assert areas.rows(slice(1, 4)).tolist() == [[0.25]] * 3


@pytest.mark.parametrize(
    "where, size, words",
    [
        (None, None, "has no georeference: nothing says how large a pixel is; give --pixel-size METRES"),
        (place(None, Affine.scale(2)), None, "has no CRS: nothing says how large a pixel is"),
        (place(*PLACES["degrees"]), 2.0, "has a CRS, and --pixel-size 2 says its pixels' size too; leave"),
        (
            place('LOCAL_CS["site"]', Affine.scale(2)),
            None,
            "CRS site, neither geographic nor projected; give",
        ),
        (None, 0.0, "--pixel-size: is 0; give the side of a pixel in metres"),
        (None, float("nan"), "--pixel-size: is nan; give"),
        (None, 1e200, r"--pixel-size: is 1e\+200; give the side of a pixel in metres, 0.001 to 100,000"),
        (None, 1e-200, "--pixel-size: is 1e-200; give"),
    ],
)
def test_what_says_no_area_or_two_is_refused(where, size, words):
    with pytest.raises(DataError, match=words):
        PixelAreas.of("a.tif", where, SHAPE, size)
