"""polygons.py: maps to files that a GIS reads, or one line that says what is wrong."""

import json
import sqlite3
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from common.errors import DataError
from data_prep.masks import class_list
from inference import polygon_files
from inference.scene_maps import write_map
from tests.conftest import refused
from tests.datasets import LAND, ROAD

UTM = {"crs": "EPSG:32633", "transform": from_origin(500000, 5500000, 10, 10)}
DEGREES = {"crs": "EPSG:4326", "transform": from_origin(13, 52, 1e-3, 1e-3)}
LABELS = np.array(
    [
        [0, 0, 0, 0, 1, 1, 1, 255],
        [0, 0, 0, 0, 1, 1, 1, 255],
        [0, 5, 0, 0, 1, 1, 1, 255],
        [0, 0, 0, 0, 1, 1, 1, 255],
    ],
    np.uint8,
)


def write_raster(path, values=LABELS, place=UTM, dataset=LAND, **changes):
    height, width = values.shape
    profile = {"driver": "GTiff", "count": 1, "height": height, "width": width, "nodata": 255}
    with rasterio.open(path, "w", dtype=values.dtype, **(profile | place | changes)) as file:
        file.write(values, 1)
        file.update_tags(classes=class_list(dataset.class_names))
    return path


def write_confidence(path, values, place=UTM, scale=1 / 254):
    write_raster(path, values, place)
    with rasterio.open(path, "r+") as file:
        file.scales = (scale,)


@pytest.fixture
def polygons(run_tool, tmp_path):
    """Return a function that runs the tool on land maps and gives the process and the file it names."""

    def run(*maps, out="maps.gpkg", options=("--dataset", "deepglobe_land")):
        return run_tool("polygons.py", *maps, "--out", tmp_path / out, *options), tmp_path / out

    return run


def read(path, layer="polygons") -> tuple[dict, np.ndarray, str | None]:
    """Columns by name, geometries and CRS."""
    meta, _, geometry, columns = pyogrio.raw.read(path, layer=layer)
    polygons = None if geometry is None else shapely.from_wkb(geometry)
    return dict(zip(meta["fields"], map(list, columns), strict=True)), polygons, meta["crs"]


def test_each_patch_has_scene_class_hectares_and_confidence(tmp_path, polygons):
    write_raster(tmp_path / "7_mask.tif")
    sure = np.where(LABELS == 255, 255, 127).astype(np.uint8)
    sure[2, 1] = 254
    write_confidence(tmp_path / "7_confidence.tif", sure)
    done, out = polygons(tmp_path / "7_mask.tif")
    assert (done.returncode, done.stderr) == (0, "")
    columns, drawn, crs = read(out)
    rows = sorted(zip(columns["class"], columns["class_name"], columns["confidence"], strict=True))
    assert rows == [(0, "urban", 0.5), (1, "agriculture", 0.5), (5, "barren", 1.0)]
    assert columns["scene"] == ["7"] * 3
    scale = 0.9996**2  # UTM's scale on its middle meridian, squared
    np.testing.assert_allclose(sorted(columns["hectares"]), np.array([0.01, 0.12, 0.15]) / scale, rtol=1e-5)
    assert done.stdout == f"{out}: 3 polygons of 1 scene, {0.28 / scale:.2f} ha\n"
    assert crs == "EPSG:32633"
    by_class = dict(zip(columns["class"], drawn, strict=True))
    assert by_class[1].equals(shapely.box(500040, 5499960, 500070, 5500000))
    assert by_class[5].equals(shapely.box(500010, 5499970, 500020, 5499980))
    assert by_class[0].equals(shapely.box(500000, 5499960, 500040, 5500000) - by_class[5])


@pytest.mark.parametrize(
    "place", [UTM, DEGREES, {"crs": "EPSG:3857", "transform": from_origin(0, 7e6, 9, 9)}]
)
def test_hectares_are_those_of_the_ellipsoid_to_a_thousandth(tmp_path, polygons, place):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 5, (12, 15)).astype(np.uint8).repeat(9, axis=0).repeat(7, axis=1)
    labels[:20, :30] = 255
    path = write_raster(tmp_path / "7_mask.tif", labels, place)
    done, out = polygons(path, options=("--dataset", "deepglobe_land", "--simplify", 0))
    assert done.returncode == 0, done.stderr
    columns, drawn, _ = read(out)
    crs = pyproj.CRS(place["crs"])
    way = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    degrees = shapely.transform(drawn, lambda points: np.column_stack(way.transform(*points.T)))
    geod = crs.get_geod()
    areas = [abs(geod.geometry_area_perimeter(polygon)[0]) / 10_000 for polygon in degrees]
    np.testing.assert_allclose(columns["hectares"], areas, rtol=1e-3)
    whole = np.count_nonzero(labels != 255) * abs(place["transform"].determinant)
    if place is UTM:
        assert sum(columns["hectares"]) == pytest.approx(whole / 10_000, rel=1e-3)


def test_the_three_formats_hold_the_same(tmp_path, polygons):
    write_raster(tmp_path / "7_mask.tif")
    found = {}
    for name in ("maps.gpkg", "maps.geojson", "maps.fgb"):
        done, out = polygons(tmp_path / "7_mask.tif", out=name)
        assert done.returncode == 0, done.stderr
        columns, _, crs = read(out)
        assert columns.keys() == {"scene", "class", "class_name", "hectares", "confidence"}
        found[name] = sorted(zip(columns["class"], np.round(columns["hectares"], 9), strict=True))
        assert all(value is None or np.isnan(value) for value in columns["confidence"])
        assert crs == ("EPSG:4326" if name == "maps.geojson" else "EPSG:32633")
    assert found["maps.gpkg"] == found["maps.geojson"] == found["maps.fgb"]
    features = json.loads((tmp_path / "maps.geojson").read_text())["features"]
    west = min(x for each in features for ring in each["geometry"]["coordinates"] for x, _ in ring)
    assert west == pytest.approx(15.0, abs=1e-6)  # the middle meridian of UTM's zone 33


def test_a_geopackage_has_the_classes_colours_as_its_default_style(tmp_path, polygons):
    write_raster(tmp_path / "7_mask.tif")
    _, out = polygons(tmp_path / "7_mask.tif")
    with sqlite3.connect(out) as file:
        [(name, column, default, qml)] = file.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        )
        tables = dict(file.execute("SELECT table_name, column_name FROM gpkg_geometry_columns"))
    assert (tables, default) == ({name: column}, 1)
    renderer = ElementTree.fromstring(qml).find("renderer-v2")
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "class")
    colours = {
        symbol.get("name"): symbol.find("layer/Option/Option[@name='color']").get("value")
        for symbol in renderer.iterfind("symbols/symbol")
    }
    shown = [
        (each.get("value"), each.get("label"), colours[each.get("symbol")])
        for each in renderer.iterfind("categories/category")
    ]
    assert shown[:2] == [("0", "urban", "0,255,255,255"), ("1", "agriculture", "255,255,0,255")]
    assert [label for _, label, _ in shown] == list(LAND.class_names)


@pytest.mark.parametrize("area", ["2px", "0.015ha", ".02ha"])
def test_small_patches_go_to_their_neighbours(tmp_path, polygons, area):
    write_raster(tmp_path / "7_mask.tif")
    done, out = polygons(tmp_path / "7_mask.tif", options=("--dataset", "deepglobe_land", "--min-area", area))
    assert done.returncode == 0, done.stderr
    columns, _, _ = read(out)
    assert sorted(columns["class"]) == [0, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7_mask.tif", "maps.gpkg"]


@pytest.mark.parametrize("area", ["0px", "1px", "0.01ha", "999999999999ha"])
def test_nothing_is_taken_where_nothing_is_smaller_or_everything_is(tmp_path, polygons, area):
    write_raster(tmp_path / "7_mask.tif")
    options = ("--dataset", "deepglobe_land", "--min-area", area)
    done, out = polygons(tmp_path / "7_mask.tif", options=options)
    assert done.returncode == 0, done.stderr
    assert sorted(read(out)[0]["class"]) == [0, 1, 5]


def test_a_geopackage_that_is_written_in_parts_is_the_same(tmp_path, monkeypatch):
    write_raster(tmp_path / "7_mask.tif", np.random.default_rng(1).integers(0, 6, (20, 20)).astype(np.uint8))
    maps, found = {"7": tmp_path / "7_mask.tif"}, []
    for batch in (10_000, 90, 25):
        monkeypatch.setattr(polygon_files, "BATCH", batch)
        polygon_files.write_polygons(maps, tmp_path / "maps.gpkg", LAND, overwrite=True)
        columns, drawn, _ = read(tmp_path / "maps.gpkg")
        found.append((columns["class"], columns["hectares"], [polygon.wkt for polygon in drawn]))
    assert len(found[0][0]) > 100
    assert found[0] == found[1] == found[2]


def test_scenes_of_a_folder_share_a_layer(tmp_path, polygons):
    (tmp_path / "maps").mkdir()
    write_raster(tmp_path / "maps" / "a_mask.tif")
    write_raster(tmp_path / "maps" / "b_mask.tif", place=UTM | {"transform": from_origin(6e5, 5e6, 10, 10)})
    done, out = polygons(tmp_path / "maps", tmp_path / "maps" / "b_mask.tif")
    assert done.returncode == 0, done.stderr
    assert read(out)[0]["scene"] == ["a"] * 3 + ["b"] * 3


def test_a_picture_lies_where_qgis_shows_it(tmp_path, polygons):
    write_map(tmp_path / "7_mask.png", np.array([[0, 0, 1]], np.uint8), LAND)
    options = ("--dataset", "deepglobe_land", "--pixel-size", 50)
    done, out = polygons(tmp_path / "7_mask.png", options=options)
    assert done.returncode == 0, done.stderr
    columns, drawn, crs = read(out)
    assert crs is None
    assert columns["hectares"] == [0.5, 0.25]
    assert [polygon.bounds for polygon in drawn] == [(0, -1, 2, 0), (2, -1, 3, 0)]


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "fgb"])
def test_a_map_without_data_gives_a_layer_without_polygons(tmp_path, polygons, ending):
    write_raster(tmp_path / "7_mask.tif", np.full((9, 9), 255, np.uint8))
    done, out = polygons(tmp_path / "7_mask.tif", out=f"maps.{ending}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(": 0 polygons of 1 scene, 0.00 ha\n")
    assert len(read(out)[1]) == 0


def test_a_file_that_exists_is_replaced_only_when_asked(tmp_path, polygons):
    write_raster(tmp_path / "7_mask.tif", np.array([[2]], np.uint8))
    (tmp_path / "maps.gpkg").write_text("mine")
    done, out = polygons(tmp_path / "7_mask.tif")
    refused(done, "maps.gpkg: exists already; give --overwrite")
    assert out.read_text() == "mine"
    done, out = polygons(
        tmp_path / "7_mask.tif", options=("--dataset", "deepglobe_land", "--overwrite", "--simplify", 1)
    )
    assert done.returncode == 0, done.stderr
    assert read(out)[0]["class_name"] == ["rangeland"]


def _no_classes(folder):
    return (
        [write_raster(folder / "7_mask.tif")],
        ("--pixel-size", 1),
        "has no manifest of these maps; name it",
    )


def _other_crs(folder):
    write_raster(folder / "a_mask.tif")
    write_raster(folder / "b_mask.tif", place=DEGREES)
    return [folder], (), "b_mask.tif: has WGS 84, a_mask.tif has WGS 84 / UTM zone 33N; give maps of one CRS"


def _other_classes(folder):
    write_raster(folder / "a_mask.tif", dataset=ROAD)
    return [folder], (), "a_mask.tif: holds numbers of '0 background, 1 road'; give a raster of the classes"


def _not_a_class_raster(folder):
    return [write_raster(folder / "7_mask.tif", LABELS.astype(np.float32))], (), "has 1 band of float32; give"


def _unknown_number(folder):
    return [write_raster(folder / "7_mask.tif", LABELS + np.uint8(1))], (), "holds 6 (1 pixel of no known"


def _no_units(folder):
    place = {"crs": 'LOCAL_CS["site grid"]', "transform": from_origin(0, 0, 1, 1)}
    return (
        [write_raster(folder / "7_mask.tif", place=place)],
        (),
        "site grid, neither geographic nor projected",
    )


def _picture(folder):
    write_map(folder / "7_mask.png", LABELS, LAND)
    return (
        [folder],
        (),
        "7_mask.png: has no georeference: nothing says how large a pixel is; give --pixel-size",
    )


def _two_of_an_id(folder):
    (folder / "more").mkdir()
    inputs = [write_raster(folder / "7_mask.tif"), write_raster(folder / "more" / "7_mask.tif")]
    return inputs, (), "has the id 7 of"


def _other_confidence(folder):
    write_confidence(folder / "7_confidence.tif", np.zeros((3, 3), np.uint8))
    return (
        [write_raster(folder / "7_mask.tif")],
        (),
        "7_confidence.tif: is 3x3 of 1 band, not one band as large",
    )


def _confidence_elsewhere(folder):
    place = UTM | {"transform": from_origin(0, 0, 10, 10)}
    write_confidence(folder / "7_confidence.tif", LABELS, place)
    return [write_raster(folder / "7_mask.tif")], (), "7_mask.tif: lies elsewhere than 7_confidence.tif"


def _area(folder):
    options = ("--min-area", "3m2")
    return [write_raster(folder / "7_mask.tif")], options, "--min-area: is '3m2'; give hectares or pixels, as"


def _tolerance(folder):
    return [write_raster(folder / "7_mask.tif")], ("--simplify", -1), "--simplify: is -1; give 0 or more"


def _ending(folder):
    return (
        [write_raster(folder / "7_mask.tif")],
        ("--out", folder / "x.shp"),
        "does not end in .gpkg, .geojson",
    )


def _missing(folder):
    return [folder / "no"], (), "no: is not a file"


@pytest.mark.parametrize(
    "mistake",
    [
        _no_classes,
        _other_crs,
        _other_classes,
        _not_a_class_raster,
        _unknown_number,
        _no_units,
        _picture,
        _two_of_an_id,
        _other_confidence,
        _confidence_elsewhere,
        _area,
        _tolerance,
        _ending,
        _missing,
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, polygons, mistake):
    inputs, options, words = mistake(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    named = () if mistake is _no_classes else ("--dataset", "deepglobe_land")
    done, _ = polygons(*inputs, options=(*named, *options))
    refused(done, words)
    assert sorted(tmp_path.rglob("*")) == before


def test_polygons_of_a_scene_are_read_back(polygons, tmp_path):
    _, path = polygons(write_raster(tmp_path / "7_mask.tif"), write_raster(tmp_path / "8_mask.tif"))
    found = polygon_files.read_polygons(path, "8")
    assert sorted((label, shape.area) for label, shape in found) == [(0, 1500), (1, 1200), (5, 100)]
    with pytest.raises(DataError, match=r"maps\.gpkg: has no polygon of scene 9; choose another --scene"):
        polygon_files.read_polygons(path, "9")
    with pytest.raises(DataError, match="cannot be read"):
        polygon_files.read_polygons(tmp_path / "none.gpkg", "8")
