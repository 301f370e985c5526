"""Samples are random in each class, on the pixels that they name, and the same for the same seed."""

from collections import Counter

import numpy as np
import pytest
import rasterio

from common.errors import DataError
from evaluation import sampling
from evaluation.sampling import SampleSize, design_of, draw, interpreted, survey
from inference.scene_files import given_maps
from inference.scene_maps import write_map
from tests.datasets import LAND
from tests.evaluation.sampled_maps import random_labels, write_class_raster

PER_CLASS = [5, 5, 5, 5, 0, 0]


def pixels(points) -> set[tuple[str, int, int]]:
    return {(point.map, point.row, point.column) for point in points}


@pytest.fixture
def maps(tmp_path):
    """Two rasters of 30 x 41 and 17 x 23 pixels, and their labels by id."""
    labels = {"a": random_labels((30, 41)), "b": random_labels((17, 23), 1)}
    for number, (id, values) in enumerate(labels.items()):
        write_class_raster(tmp_path / f"{id}_mask.tif", values, north=5_000_000 - 10_000 * number)
    return given_maps([tmp_path]), labels


def test_points_lie_on_different_pixels_of_the_class_that_they_name(maps):
    scenes, labels = maps
    points = draw(survey(scenes, LAND), PER_CLASS, 1)
    assert Counter(point.number for point in points) == {0: 5, 1: 5, 2: 5, 3: 5}
    assert len(pixels(points)) == 20
    assert [point.id for point in points] == list(range(1, 21))
    for point in points:
        assert labels[point.map][point.row, point.column] == point.number
        assert point.name == LAND.class_names[point.number]
        with rasterio.open(scenes[point.map]) as file:
            assert (point.x, point.y) == file.xy(point.row, point.column)


def test_every_pixel_of_a_class_is_as_likely_as_any_other(maps):
    """Over both maps: 300 draws of half of the rarest class, within four deviations of a binomial."""
    scenes, labels = maps
    surveyed = survey(scenes, LAND)
    where = {(id, *place) for id, values in labels.items() for place in np.argwhere(values == 3).tolist()}
    half, counts = len(where) // 2, Counter()
    for seed in range(300):
        counts.update(pixels(draw(surveyed, [0, 0, 0, half, 0, 0], seed)))
    share = half / len(where)
    assert counts.keys() == where
    assert all(abs(count - 300 * share) < 4 * np.sqrt(300 * share * (1 - share)) for count in counts.values())


def test_the_seed_alone_decides_whatever_the_strips(maps, monkeypatch):
    scenes = maps[0]
    first = draw(survey(scenes, LAND), PER_CLASS, 7)
    assert draw(survey(dict(reversed(scenes.items())), LAND), PER_CLASS, 7) == first
    assert pixels(draw(survey(scenes, LAND), PER_CLASS, 8)) != pixels(first)
    monkeypatch.setattr(sampling, "MAX_PIXELS", 100)  # two rows, four rows
    surveyed = survey(scenes, LAND)
    assert len(surveyed.strips) == 15 + 5
    assert draw(surveyed, PER_CLASS, 7) == first


def test_the_order_of_points_says_nothing_about_their_class(maps):
    numbers = [point.number for point in draw(survey(maps[0], LAND), PER_CLASS, 0)]
    assert numbers != sorted(numbers)


def test_a_class_with_fewer_pixels_is_taken_whole(maps):
    scenes, labels = maps
    total = sum(int((values == 3).sum()) for values in labels.values())
    surveyed = survey(scenes, LAND)
    assert SampleSize(per_class=200).points(surveyed)[3] == total
    assert len(pixels(draw(surveyed, [0, 0, 0, total, 0, 0], 0))) == total


def test_the_design_has_the_strata_and_what_was_drawn_from_them(maps):
    scenes, labels = maps
    surveyed = survey(scenes, LAND)
    design = design_of(surveyed, draw(surveyed, PER_CLASS, 3), 3)
    counts = [sum(int((values == number).sum()) for values in labels.values()) for number in range(6)]
    assert [stratum.pixels for stratum in design.strata] == counts
    assert [stratum.points for stratum in design.strata] == PER_CLASS
    # UTM's scale is 0.9996 on the meridian of 15 degrees: 100 square metres of the map are 100.08.
    assert [s.hectares for s in design.strata] == pytest.approx([c * 0.010008 for c in counts], rel=1e-5)
    assert [(each.id, each.height, each.width) for each in design.maps] == [("a", 30, 41), ("b", 17, 23)]
    assert rasterio.CRS.from_wkt(design.crs).to_epsg() == 32633


def test_a_picture_has_the_pixels_that_the_user_says(tmp_path):
    write_map(tmp_path / "1_mask.png", random_labels((20, 30)), LAND)
    scenes = given_maps([tmp_path])
    with pytest.raises(DataError, match=r"1_mask\.png: has no georeference.*--pixel-size METRES"):
        survey(scenes, LAND)
    surveyed = survey(scenes, LAND, 0.5)
    assert surveyed.hectares == pytest.approx(surveyed.pixels * 0.25 / 10_000)
    point = draw(surveyed, PER_CLASS, 0)[0]
    assert (point.x, point.y) == (point.column + 0.5, -point.row - 0.5)  # where QGIS shows it


def test_references_can_be_those_of_true_masks(maps, tmp_path):
    scenes, labels = maps
    points = draw(survey(scenes, LAND), PER_CLASS, 2)
    (tmp_path / "truth").mkdir()
    truths = {id: (values + 1) % 6 for id, values in labels.items()}
    truths["a"][points[0].row, points[0].column] = 255
    for id, values in truths.items():
        write_map(tmp_path / "truth" / f"{id}_mask.png", values, LAND)
    for point in interpreted(points, tmp_path / "truth", LAND):
        label = truths[point.map][point.row, point.column]
        assert point.reference == ("" if label == 255 else LAND.class_names[label])
    write_map(tmp_path / "truth" / "a_mask.png", truths["a"][:1, :1], LAND, overwrite=True)
    with pytest.raises(DataError, match=r"a_mask\.png: is 1x1, and point \d+ lies outside of it"):
        interpreted(points, tmp_path / "truth", LAND)
    (tmp_path / "truth" / "a_mask.png").unlink()
    with pytest.raises(DataError, match="truth: lacks the true mask of a"):
        interpreted(points, tmp_path / "truth", LAND)


def test_maps_of_two_crss_are_refused(tmp_path):
    write_class_raster(tmp_path / "1_mask.tif", random_labels((9, 9)))
    write_class_raster(tmp_path / "2_mask.tif", random_labels((9, 9)), "EPSG:32634")
    with pytest.raises(DataError, match=r"2_mask\.tif: has WGS 84 / UTM zone 34N, 1_mask\.tif has .* 33N"):
        survey(given_maps([tmp_path]), LAND)


def test_pixels_of_several_sizes_are_refused(tmp_path):
    """By resolution, and by latitude: a degree of longitude shrinks by 2 % from 45 to 46 degrees."""
    write_class_raster(tmp_path / "1_mask.tif", random_labels((9, 9)))
    write_class_raster(tmp_path / "2_mask.tif", random_labels((9, 9)), pixel=20)
    with pytest.raises(DataError, match=r"areas of 100\.\d+ to 400\.\d+ square metres; reproject"):
        survey(given_maps([tmp_path]), LAND)
    labels = random_labels((700, 9))
    path = write_class_raster(tmp_path / "3_mask.tif", labels, "EPSG:4326", pixel=0.002, north=46.0)
    with pytest.raises(DataError, match="square metres; reproject the maps to one grid of an equal-area CRS"):
        survey(given_maps([path]), LAND)
    survey(given_maps([write_class_raster(path, labels, "EPSG:4326", pixel=0.0005, north=46.0)]), LAND)


def test_maps_without_a_class_are_refused(tmp_path):
    write_class_raster(tmp_path / "1_mask.tif", np.full((9, 9), 255, np.uint8))
    with pytest.raises(DataError, match=r"1_mask\.tif: has no pixel of a class of deepglobe_land"):
        survey(given_maps([tmp_path]), LAND)


def test_sizes_for_a_standard_error_are_cochrans(maps):
    """S of 0.8 is 0.4: (0.4 / 0.1) ** 2 = 16 of very many pixels, 15.8 of these."""
    surveyed = survey(maps[0], LAND)
    size = SampleSize(standard_error=0.1, expected=["0.8"], least=2)
    expected = 0.16 / (0.01 + 0.16 / surveyed.pixels.sum())
    assert sum(size.points(surveyed)) == np.ceil(expected)
    assert size.points(surveyed)[3] == 2  # in place of 0.3


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (SampleSize(per_class=1), "--per-class: is 1; give 2 or more"),
        (SampleSize(standard_error=0.0, expected=["0.8"]), "--standard-error: is 0"),
        (SampleSize(standard_error=0.1), "--expected: has no user's accuracy of urban"),
        (SampleSize(standard_error=0.1, expected=["city=0.8"]), "--expected: names city, .* name urban, "),
        (SampleSize(standard_error=0.1, expected=["urban=high"]), "--expected: has 'high'"),
        (SampleSize(standard_error=0.1, expected=["80"]), "--expected: is 80; give 0 to 1"),
        (SampleSize(standard_error=0.1, expected=["0.8"], least=1), "--at-least: is 1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(size, message):
    with pytest.raises(DataError, match=message):
        size.check(LAND)
