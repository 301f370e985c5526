"""Truth in somebody's own numbers is scored by its data set, or refused: never taken for classes."""

import re

import numpy as np
import pytest
import rasterio

from tests.conftest import ROOT, refused
from tests.datasets import LAND
from tests.evaluation.page.finished_run import make_finished_run

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SHAPE = (40, 60)
LABELS = np.random.default_rng(5).choice([0, 1, 4, 255], SHAPE).astype(np.uint8)
NUMBERS = np.select([LABELS == 0, LABELS == 1, LABELS == 4], [1, 2, -30], 99).astype(np.int16)
VALUES = {"urban": [1], "agriculture": [2], "water": [-30]}


def write_own(folder, values=VALUES, ignored=(99,)) -> list:
    """Write a data set of DeepGlobe's classes with values of their own; return the options that name it."""
    text = (ROOT / "datasets" / "deepglobe_land.toml").read_text()
    for name, its in values.items():
        text = text.replace(f'name = "{name}",', f'name = "{name}", values = {its},')
    (folder / "own.toml").write_text(text + f"values = {list(ignored)}\n")
    return ["--dataset", folder / "own.toml"]


def write(path, band: np.ndarray, **options) -> None:
    path.parent.mkdir(exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "height": band.shape[0], "width": band.shape[1]}
    with rasterio.open(path, "w", **(profile | {"dtype": band.dtype} | options)) as file:
        file.write(band[None])


def write_class_raster(path, labels: np.ndarray) -> None:
    """Write labels as predict.py does, with the tag that says what they are."""
    write(path, labels.astype(np.uint8))
    with rasterio.open(path, "r+") as file:
        file.update_tags(classes=", ".join(f"{label} {name}" for label, name in enumerate(LAND.class_names)))


@pytest.fixture
def folders(tmp_path):
    """Two scenes with truth in own numbers, of 16 bits, and maps without a mistake."""
    rng = np.random.default_rng(7)
    for id in "ab":
        image = rng.integers(0, 256, SHAPE, np.uint8)
        write(tmp_path / "own" / f"{id}_sat.tif", image)
        write(tmp_path / "own" / f"{id}_mask.tif", NUMBERS)
        write_class_raster(tmp_path / "maps" / f"{id}_mask.tif", np.where(LABELS == 255, 3, LABELS))
    write_own(tmp_path)
    return tmp_path


PLAIN = ("--dataset", "deepglobe_land")


def scored(folder, *more):
    return ["--truth", folder / "own", "--pred", folder / "maps", *more]


def test_a_perfect_map_of_mapped_truth_scores_100_percent(folders, run_tool):
    done = run_tool("evaluate.py", *scored(folders, "--dataset", folders / "own.toml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"2 scenes, {2 * np.count_nonzero(LABELS != 255):,} scored pixels" in done.stdout
    assert re.search(r"^mIoU +100\.00 %", done.stdout, re.M)


def test_a_map_with_mistakes_is_scored_as_the_same_masks_in_colours(folders, run_tool):
    from inference.scene_maps import write_map

    mapped = np.where(np.arange(SHAPE[1]) < 20, 1, LABELS).astype(np.uint8)
    for id in "ab":
        write_class_raster(folders / "maps" / f"{id}_mask.tif", mapped)
        write_map(folders / "colours" / f"{id}_mask.png", LABELS, LAND)
    by_numbers = run_tool("evaluate.py", *scored(folders, "--dataset", folders / "own.toml"))
    by_colours = run_tool("evaluate.py", *scored(folders, "--truth", folders / "colours", *PLAIN))
    assert by_numbers.returncode == 0
    assert by_numbers.stdout == by_colours.stdout


def test_truth_in_numbers_is_not_taken_for_classes(folders, run_tool):
    words = ("own/a_mask.tif", "holds numbers", "give the classes of deepglobe_land their values")
    refused(run_tool("evaluate.py", *scored(folders, *PLAIN)), *words)
    write(folders / "own" / "a_mask.tif", np.full(SHAPE, 2, np.uint8))  # each a class of ours, by chance
    refused(run_tool("evaluate.py", *scored(folders, *PLAIN)), *words)


def test_maps_without_a_record_and_a_named_data_set_are_not_guessed(folders, run_tool):
    refused(run_tool("evaluate.py", *scored(folders)), "maps: has no manifest", "--dataset")


def test_a_map_of_ours_says_its_classes_and_can_be_truth(folders, run_tool):
    """A map that was corrected by hand, or of another net."""
    given = ("--truth", folders / "maps", "--pred", folders / "maps")
    done = run_tool("evaluate.py", *given, *PLAIN)
    assert (done.returncode, done.stderr) == (0, "")
    road = ("--dataset", "deepglobe_road")
    refused(run_tool("evaluate.py", *given, *road), "a_mask.tif", "0 urban", "classes of deepglobe_road")


def test_a_number_that_the_data_set_lacks_is_named(folders, run_tool):
    numbers = NUMBERS.copy()
    numbers[3, 4] = 7
    write(folders / "own" / "b_mask.tif", numbers)
    done = run_tool("evaluate.py", *scored(folders, "--dataset", folders / "own.toml"))
    refused(done, "own/b_mask.tif", "holds 7 (1 pixel", "add 7 to the values of a class of own")


def test_nodata_of_the_truth_needs_no_value_in_the_data_set(folders, run_tool):
    for id in "ab":
        write(folders / "own" / f"{id}_mask.tif", np.where(NUMBERS == 99, -7, NUMBERS), nodata=-7)
    done = run_tool("evaluate.py", *scored(folders, "--dataset", folders / "own.toml"))
    assert re.search(r"^mIoU +100\.00 %", done.stdout, re.M)


def test_the_values_of_truth_are_not_those_of_maps(folders, run_tool):
    write_class_raster(folders / "maps" / "b_mask.tif", np.full(SHAPE, 6))
    done = run_tool("evaluate.py", *scored(folders, "--dataset", folders / "own.toml"))
    refused(done, "maps/b_mask.tif", "holds 6", "give class numbers (0, 1, 2, 3, 4, 5, 255)")


def test_a_figure_shows_truth_in_own_numbers(folders, run_tool):
    given = ["compare", "--images", folders / "own", *scored(folders, "--out", folders / "f.png")]
    refused(run_tool("figure.py", *given, *PLAIN), "own/a_mask.tif", "their values")
    done = run_tool("figure.py", *given, "--dataset", folders / "own.toml")
    assert done.returncode == 0, done.stderr
    assert "scenes a b" in done.stdout


def test_a_report_of_truth_in_own_numbers_has_the_scores_of_the_same_data_set(folders, run_tool):
    run = make_finished_run(folders / "made").folder
    scores, own = folders / "scores.json", ("--dataset", folders / "own.toml")
    assert run_tool("evaluate.py", *scored(folders, *own, "--json", scores)).returncode == 0
    given = [run, "--scores", scores, "--images", folders / "own", *scored(folders)]
    refused(run_tool("report.py", *given, *PLAIN), "own/a_mask.tif", "their values")
    done = run_tool("report.py", *given, *own)
    assert (done.returncode, done.stderr) == (0, "")
    write_own(folders, {"urban": [1], "agriculture": [2], "barren": [-30]})
    refused(run_tool("report.py", *given, *own, "--overwrite"), "scores.json", "holds other scores")


def test_a_mapping_of_version_1_is_refused_with_the_new_spelling(folders, run_tool):
    (folders / "mapping.toml").write_text('[values]\n1 = "urban"\n99 = "ignore"\n')
    done = run_tool("evaluate.py", *scored(folders, "--dataset", folders / "mapping.toml"))
    refused(done, "mapping.toml: is a mapping of version 1.0", '{ name = "urban", values = [1] }')
