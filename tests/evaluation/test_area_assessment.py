"""An interpreted sample becomes areas; what was not drawn with known probabilities is refused."""

import csv

import numpy as np
import pytest
from pyogrio import raw

from common.errors import DataError
from evaluation.area_assessment import as_numbers, assess, check_maps, table
from evaluation.sample_files import design_path, read_design, read_sample, write_sample
from evaluation.sampling import design_of, draw, survey
from inference.scene_files import given_maps
from tests.datasets import LAND
from tests.evaluation.sampled_maps import random_labels, write_class_raster

TRUTH = random_labels((60, 80), 9)
NAMES = list(LAND.class_names)


def mapped_labels() -> np.ndarray:
    """Return the truth with a tenth of the agriculture mapped as rangeland."""
    labels = TRUTH.copy()
    rows, columns = np.nonzero(labels == 1)
    labels[rows[::10], columns[::10]] = 2
    return labels


def rows_of(sample) -> list[dict]:
    with sample.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(sample, rows, delimiter=",") -> None:
    with sample.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def interpreted(sample) -> list[dict]:
    """Fill in what the truth has at each point, by name."""
    rows = rows_of(sample)
    for row in rows:
        row["reference"] = NAMES[TRUTH[int(row["row"]), int(row["col"])]]
    write_rows(sample, rows)
    return rows


@pytest.fixture
def maps(tmp_path):
    (tmp_path / "maps").mkdir()
    write_class_raster(tmp_path / "maps" / "1_mask.tif", mapped_labels())
    return tmp_path / "maps"


@pytest.fixture
def sample(maps, tmp_path):
    """An interpreted sample of 40 points a class."""
    return drawn(tmp_path / "sample.csv", maps)


def drawn(path, maps):
    surveyed = survey(given_maps([maps]), LAND)
    points = draw(surveyed, [40] * 4 + [0, 0], 5)
    write_sample(path, points, design_of(surveyed, points, 5))
    if path.suffix == ".csv":
        interpreted(path)
    return path


def estimated(sample, drop_missing=False):
    design = read_design(sample)
    return assess(sample, read_sample(sample, design), design, drop_missing)


def test_areas_are_those_of_the_map_corrected_by_its_errors(sample):
    found = as_numbers(estimated(sample))
    mapped = mapped_labels()
    pixel = found["total_hectares"] / (TRUTH != 255).sum()
    assert pixel == pytest.approx(0.010008, rel=1e-4)
    for number, name in enumerate(NAMES):
        assert found["mapped_hectares"][name] == pytest.approx((mapped == number).sum() * pixel)
    # By hand, of the points that the file has: only points mapped as rangeland can be wrong.
    points = [(row["class_name"], row["reference"]) for row in rows_of(sample)]
    right = sum(pair == ("rangeland", "rangeland") for pair in points) / 40
    claimed = (mapped == 2).sum() * pixel
    agriculture = found["hectares"]["agriculture"]
    assert right < 1
    assert agriculture["value"] == pytest.approx((mapped == 1).sum() * pixel + claimed * (1 - right))
    error = claimed * np.sqrt(right * (1 - right) / 39)
    assert agriculture["standard_error"] == pytest.approx(error)
    assert agriculture["interval"][1] == pytest.approx(agriculture["value"] + 1.96 * error)
    assert found["users_accuracy"]["rangeland"]["value"] == pytest.approx(right)
    assert found["users_accuracy"]["water"] == {"value": None, "standard_error": None, "interval": [None] * 2}
    line = next(line for line in table(estimated(sample)).splitlines() if line.startswith("agriculture"))
    assert f"{agriculture['value']:,.2f} ±" in line


def test_a_geopackage_has_the_same_points_as_a_csv(maps, tmp_path, sample):
    path = drawn(tmp_path / "sample.gpkg", maps)
    meta, _, geometry, values = raw.read(path)
    columns = dict(zip(meta["fields"], values, strict=True))
    for number, row in enumerate(rows_of(sample)):
        for column in ("id", "map", "class", "class_name", "row", "col", "seed"):
            assert str(columns[column][number]) == row[column]
        assert np.frombuffer(geometry[number][5:], "<f8").tolist() == [float(row["x"]), float(row["y"])]
    assert meta["crs"] == "EPSG:32633"
    columns["reference"] = np.array([row["reference"] for row in rows_of(sample)], object)
    options = {"layer": "sample", "geometry_type": "Point", "crs": "EPSG:32633"}
    raw.write(path, geometry, list(columns.values()), list(columns), **options)
    assert as_numbers(estimated(path)) == as_numbers(estimated(sample))
    path.write_bytes(b"no GeoPackage")
    with pytest.raises(DataError, match=r"sample\.gpkg: holds no layer sample"):
        estimated(path)


def test_numbers_other_columns_and_a_spreadsheets_semicolons_are_read(sample):
    before = as_numbers(estimated(sample))
    rows = rows_of(sample)
    for row in rows:
        row["reference"] = f" {NAMES.index(row['reference'])} "
        row["who"] = "an expert; the first"
    write_rows(sample, rows[::-1], ";")
    assert as_numbers(estimated(sample)) == before


def test_zeros_that_a_spreadsheet_takes_off_an_id_are_put_back(maps, tmp_path):
    (maps / "1_mask.tif").rename(maps / "007_mask.tif")
    sample = drawn(tmp_path / "sample.csv", maps)
    before = as_numbers(estimated(sample))
    write_rows(sample, [row | {"map": "7"} for row in rows_of(sample)])
    assert as_numbers(estimated(sample)) == before


def test_points_without_interpretation_are_dropped_only_when_asked(sample):
    rows = rows_of(sample)
    for row in rows[:3]:
        row["reference"] = ""
    write_rows(sample, rows)
    with pytest.raises(DataError, match=r"has 3 points of 160 without a reference, as 1; interpret"):
        estimated(sample)
    assert estimated(sample, drop_missing=True).missing == 3
    for row in rows:
        row["reference"] = "" if row["class_name"] == "urban" else row["reference"]
    write_rows(sample, rows)
    with pytest.raises(DataError, match=r"has 0 interpreted points of the map's class urban"):
        estimated(sample, drop_missing=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "has 159 points, 160 were drawn.*probabilities are not known"),
        (lambda rows: [*rows[:-1], rows[0]], "has point 1 2 times"),
        (lambda rows: [*rows, rows[0] | {"id": "161"}], "has 161 points, 160 were drawn"),
        (lambda rows: [rows[0] | {"row": "600"}, *rows[1:]], "point 1 at row 600.*outside of the maps"),
        (lambda rows: [rows[0] | {"map": "2"}, *rows[1:]], "of 2, which lies outside of the maps"),
        (
            lambda rows: [rows[0] | {"col": str(int(rows[0]["col"]) ^ 1)}, *rows[1:]],
            "other pixels or classes",
        ),
        (lambda rows: [rows[0] | {"class": str(int(rows[0]["class"]) ^ 1)}, *rows[1:]], "other pixels or"),
        (lambda rows: [rows[0] | {"reference": "city"}, *rows[1:]], "reference 'city' at point 1; give one"),
        (lambda rows: [rows[0] | {"id": ""}, *rows[1:]], "has a point without a number"),
        (lambda rows: [{"id": row["id"]} for row in rows], "has no column map, class,"),
    ],
)
def test_what_was_not_drawn_with_known_probabilities_is_refused(sample, change, message):
    write_rows(sample, change(rows_of(sample)))
    with pytest.raises(DataError, match=rf"sample\.csv: {message}" if message[:4] == "has " else message):
        estimated(sample)


def test_a_sample_without_its_design_is_refused(sample):
    design_path(sample).write_text("{}")
    with pytest.raises(DataError, match=r"sample\.csv\.design\.json: is not the design of a sample"):
        estimated(sample)
    with pytest.raises(DataError, match=r"none\.csv: cannot be read \(No such file"):
        read_design(sample.with_name("none.csv"))
    design_path(sample).unlink()
    with pytest.raises(DataError, match=r"sample\.csv: has no design record.*which probability"):
        estimated(sample)


def test_strata_of_another_map_are_refused(sample, maps, tmp_path):
    design = read_design(sample)
    check_maps(design, given_maps([maps]))
    other = write_class_raster(tmp_path / "1_mask.tif", TRUTH)
    with pytest.raises(DataError, match=r"1_mask\.tif: is not a map of the sample's design \(1_mask\.tif\)"):
        check_maps(design, given_maps([other]))
    other = write_class_raster(tmp_path / "2_mask.tif", TRUTH)
    with pytest.raises(DataError, match=r"2_mask\.tif: is not a map of the sample's design"):
        check_maps(design, given_maps([maps, other]))


def test_all_sampled_maps_are_needed(maps, tmp_path):
    write_class_raster(maps / "2_mask.tif", TRUTH, north=4_000_000)
    surveyed = survey(given_maps([maps]), LAND)
    design = design_of(surveyed, draw(surveyed, [2] * 4 + [0, 0], 0), 0)
    with pytest.raises(DataError, match=r"maps: lacks 1 map that the sample was drawn from, as 2"):
        check_maps(design, given_maps([maps / "1_mask.tif"]))
