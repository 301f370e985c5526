"""change.py: which class has become which, by hand and by brute force; a mistake is one line."""

import csv
import json
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from evaluation.change import write_change
from inference.scene_maps import write_map
from tests.conftest import refused
from tests.datasets import LAND, ROAD, changed
from tests.tools.test_polygons import DEGREES, UTM, write_raster

BEFORE = np.array([[0, 0, 1], [3, 255, 1]], np.uint8)
AFTER = np.array([[0, 1, 1], [0, 2, 255]], np.uint8)
CHANGES = {("urban", "urban"), ("urban", "agriculture"), ("agriculture", "agriculture"), ("forest", "urban")}


@pytest.fixture
def change(run_tool, tmp_path):
    """Return a function that runs the tool on two maps and gives the process and its folder."""

    def run(before, after, *options):
        out = tmp_path / "change"
        return run_tool(
            "change.py", before, after, "--out", out, "--dataset", "deepglobe_land", *options
        ), out

    return run


def pair(folder, place=UTM, **changes):
    before = write_raster(folder / "before.tif", BEFORE)
    return before, write_raster(folder / "after.tif", AFTER, place, **changes)


def test_the_matrix_has_the_hectares_of_each_transition(tmp_path, change):
    done, out = change(*pair(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == [
        *("change.json", "transitions.csv", "transitions.tif", "transitions.tif.aux.xml"),
    ]
    numbers = json.loads((out / "change.json").read_text())
    hectare = 0.01 / 0.9996**2  # of a pixel, on UTM's middle meridian
    names = numbers["rows_before"]
    assert names == numbers["columns_after"] == [*LAND.class_names, "no data"]
    pixels = np.array(numbers["pixels"])
    there = {(names[row], names[column]) for row, column in np.argwhere(pixels)}
    assert there == CHANGES | {("no data", "rangeland"), ("agriculture", "no data")}
    assert pixels.max() == 1
    np.testing.assert_allclose(numbers["hectares"], pixels * hectare, rtol=1e-4)
    assert numbers["compared_hectares"] == pytest.approx(4 * hectare, rel=1e-4)
    assert numbers["changed_hectares"] == pytest.approx(2 * hectare, rel=1e-4)
    urban = [numbers["by_class"]["urban"][key] for key in ("before", "after", "lost", "gained")]
    np.testing.assert_allclose(urban, np.array([2, 2, 1, 1]) * hectare, rtol=1e-4)
    rows = list(csv.reader((out / "transitions.csv").open()))
    assert rows[0] == ["before", *names]
    assert [[row[0], *map(float, row[1:])] for row in rows[1:]] == [
        [name, *values] for name, values in zip(names, numbers["hectares"], strict=True)
    ]
    assert done.stdout.endswith("\n0.02 ha of 0.04 have changed (50.00 %)\n")


def test_the_raster_says_each_transition_by_number_name_and_colour(tmp_path, change):
    _, out = change(*pair(tmp_path))
    with rasterio.open(out / "transitions.tif") as raster:
        values, palette = raster.read(1), raster.colormap(1)
        assert (raster.crs, raster.transform, raster.nodata) == (*UTM.values(), 255)
        assert raster.dtypes == ("uint8",)
    table = ElementTree.parse(out / "transitions.tif.aux.xml")
    names = [entry.text for entry in table.iterfind("PAMRasterBand/CategoryNames/Category")]
    shown = [[None if value == 255 else names[value] for value in row] for row in values.tolist()]
    assert shown == [["urban", "urban to agriculture", "agriculture"], ["forest to urban", None, None]]
    assert palette[values[0, 1]][:3] == LAND.palette[1]
    assert palette[values[1, 0]][:3] == LAND.palette[0]
    assert palette[values[0, 0]][:3] == (204, 255, 255)  # urban, pale


@pytest.mark.parametrize("classes", [6, 16, 60])
def test_transitions_are_those_of_brute_force_for_any_number_of_classes(tmp_path, classes):
    """Up to 15 classes fit in a byte."""
    entries = [{"name": f"class {number}", "values": [number]} for number in range(classes)]
    dataset = changed(LAND, classes=entries, ignore={"values": [255]})
    rng = np.random.default_rng(classes)
    maps = rng.integers(0, classes + 1, (2, 30, 40)).astype(np.uint8)
    maps[maps == classes] = 255
    paths = [
        write_raster(tmp_path / f"{number}_mask.tif", labels, DEGREES, dataset)
        for number, labels in enumerate(maps)
    ]
    found = write_change(("0", paths[0]), ("1", paths[1]), tmp_path / "out", dataset)
    expected = np.zeros((classes + 1, classes + 1), int)
    for old, new in zip(*maps.reshape(2, -1).tolist(), strict=True):
        expected[min(old, classes), min(new, classes)] += 1
    np.testing.assert_array_equal(found.pixels, expected)
    with rasterio.open(tmp_path / "out" / "transitions.tif") as raster:
        values = raster.read(1).astype(int)
        assert raster.nodata == (255 if classes == 6 else 65535)
    old, new = maps.astype(int)
    gone = (old == 255) | (new == 255)
    np.testing.assert_array_equal(values[~gone], (old * classes + new)[~gone])
    assert set(values[gone].tolist()) == {raster.nodata}


def test_pictures_need_a_pixel_size(tmp_path, change):
    for name, labels in (("before", BEFORE), ("after", AFTER)):
        write_map(tmp_path / f"{name}.png", labels, LAND)
    maps = (tmp_path / "before.png", tmp_path / "after.png")
    done, out = change(*maps)
    refused(done, "before.png: has no georeference: nothing says how large a pixel is; give --pixel-size")
    assert not out.exists()
    done, out = change(*maps, "--pixel-size", 100)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "change.json").read_text())["changed_hectares"] == 2


def test_a_map_that_does_not_say_where_it_lies_is_named(tmp_path, change):
    before, after = write_raster(tmp_path / "before.tif", BEFORE), tmp_path / "after.png"
    write_map(after, AFTER, LAND)
    done, out = change(before, after)
    words = "after.png does not say where it lies: taken for the place of before.tif"
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"note: {words}")
    assert json.loads((out / "change.json").read_text())["assumption"] == words
    done, out = change(before, before, "--overwrite")
    assert "note" not in done.stdout
    assert json.loads((out / "change.json").read_text())["assumption"] is None


def test_a_folder_that_exists_is_replaced_only_when_asked(tmp_path, change):
    maps = pair(tmp_path)
    assert change(*maps)[0].returncode == 0
    refused(change(*maps)[0], "change: exists already; give --overwrite")
    assert change(*maps, "--overwrite")[0].returncode == 0


@pytest.mark.parametrize(
    "mistake, words",
    [
        (
            {"place": UTM | {"transform": UTM["transform"] @ UTM["transform"].translation(0.5, 0)}},
            "0.5 pixels",
        ),
        ({"place": UTM | {"crs": "EPSG:32634"}}, "after.tif: lies elsewhere than before.tif (EPSG:32634, "),
        ({"place": DEGREES}, "lies elsewhere than before.tif (EPSG:4326, "),
        (
            {"dataset": ROAD},
            "after.tif: holds numbers of '0 background, 1 road'; give a raster of the classes",
        ),
    ],
)
def test_maps_of_two_grids_or_class_sets_are_refused(tmp_path, change, mistake, words):
    done, out = change(*pair(tmp_path, **mistake))
    refused(done, words)
    assert not out.exists()


def test_a_map_of_another_size_or_none_is_refused(tmp_path, change):
    before = write_raster(tmp_path / "before.tif", BEFORE)
    other = write_raster(tmp_path / "after.tif", AFTER[:, :2].copy())
    done, out = change(before, other)
    refused(done, "after.tif: is 2x2, before.tif 3x2; warp it to the grid of the other, or cut it alike")
    refused(change(before, tmp_path / "no.tif")[0], "no.tif: is not a file; give a map of dfcnet predict")
    refused(change(tmp_path, before)[0], "is not a file; give a map of dfcnet predict")
    assert not out.exists()
