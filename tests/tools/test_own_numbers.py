"""Truth in somebody's own numbers is scored and shown by its mapping, or refused: never taken for classes."""

import re

import numpy as np
import pytest
import rasterio

from data_prep.classes import TASKS
from tests.conftest import refused
from tests.evaluation.page.finished_run import make_finished_run

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
LAND = TASKS["land"]
SHAPE = (40, 60)
LABELS = np.random.default_rng(5).choice([0, 1, 4, 255], SHAPE).astype(np.uint8)
NUMBERS = np.select([LABELS == 0, LABELS == 1, LABELS == 4], [1, 2, -30], 99).astype(np.int16)
MAPPING = '[values]\n1 = "urban"\n2 = "agriculture"\n-30 = "water"\n99 = "ignore"\n'


def write(path, band: np.ndarray, **options) -> None:
    path.parent.mkdir(exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "height": band.shape[0], "width": band.shape[1]}
    with rasterio.open(path, "w", **(profile | {"dtype": band.dtype} | options)) as file:
        file.write(band[None])


@pytest.fixture
def folders(tmp_path):
    """Two scenes with truth in own numbers, of 16 bits, and maps without a mistake."""
    rng = np.random.default_rng(7)
    for id in "ab":
        image = rng.integers(0, 256, SHAPE, np.uint8)
        write(tmp_path / "own" / f"{id}_sat.tif", image)
        write(tmp_path / "own" / f"{id}_mask.tif", NUMBERS)
        write(tmp_path / "maps" / f"{id}_mask.tif", np.where(LABELS == 255, 3, LABELS).astype(np.uint8))
    (tmp_path / "mapping.toml").write_text(MAPPING)
    return tmp_path


def scored(folder, *more):
    return ["--truth", folder / "own", "--pred", folder / "maps", *more]


def test_a_perfect_map_of_mapped_truth_scores_100_percent(folders, run_tool):
    done = run_tool("evaluate.py", *scored(folders, "--mapping", folders / "mapping.toml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"2 scenes, {2 * np.count_nonzero(LABELS != 255):,} scored pixels" in done.stdout
    assert re.search(r"^mIoU +100\.00 %", done.stdout, re.M)


def test_a_map_with_mistakes_is_scored_as_the_same_masks_in_colours(folders, run_tool):
    from inference.masks import write_map

    mapped = np.where(np.arange(SHAPE[1]) < 20, 1, LABELS).astype(np.uint8)
    for id in "ab":
        write(folders / "maps" / f"{id}_mask.tif", mapped)
        write_map(folders / "colours" / f"{id}_mask.png", LABELS, LAND)
    by_numbers = run_tool("evaluate.py", *scored(folders, "--mapping", folders / "mapping.toml"))
    by_colours = run_tool("evaluate.py", *scored(folders, "--truth", folders / "colours"))
    assert by_numbers.returncode == 0
    assert by_numbers.stdout == by_colours.stdout


def test_truth_in_numbers_is_not_taken_for_classes(folders, run_tool):
    words = ("own/a_mask.tif", "holds numbers", "--mapping", "land class")
    refused(run_tool("evaluate.py", *scored(folders)), *words)
    write(folders / "own" / "a_mask.tif", np.full(SHAPE, 2, np.uint8))  # each a class of ours, by chance
    refused(run_tool("evaluate.py", *scored(folders)), *words)


def test_a_map_of_ours_tells_its_classes_and_can_be_truth(folders, run_tool):
    """A map that was corrected by hand, or of another net."""
    for id in "ab":
        with rasterio.open(folders / "maps" / f"{id}_mask.tif", "r+") as file:
            file.update_tags(classes=", ".join(f"{label} {name}" for label, name in enumerate(LAND.classes)))
    given = ("--truth", folders / "maps", "--pred", folders / "maps")
    done = run_tool("evaluate.py", *given)
    assert (done.returncode, done.stderr) == (0, "")
    refused(run_tool("evaluate.py", *given, "--task", "road"), "a_mask.tif", "0 urban", "road class")


def test_a_number_that_the_mapping_lacks_is_named(folders, run_tool):
    numbers = NUMBERS.copy()
    numbers[3, 4] = 7
    write(folders / "own" / "b_mask.tif", numbers)
    done = run_tool("evaluate.py", *scored(folders, "--mapping", folders / "mapping.toml"))
    refused(done, "own/b_mask.tif", "holds 7 (1 pixels", 'add 7 = "<class>"', "mapping.toml")


def test_nodata_of_the_truth_needs_no_line_in_the_mapping(folders, run_tool):
    for id in "ab":
        write(folders / "own" / f"{id}_mask.tif", np.where(NUMBERS == 99, -7, NUMBERS), nodata=-7)
    done = run_tool("evaluate.py", *scored(folders, "--mapping", folders / "mapping.toml"))
    assert re.search(r"^mIoU +100\.00 %", done.stdout, re.M)


def test_the_mapping_is_not_for_maps(folders, run_tool):
    write(folders / "maps" / "b_mask.tif", np.full(SHAPE, 6, np.uint8))
    done = run_tool("evaluate.py", *scored(folders, "--mapping", folders / "mapping.toml"))
    refused(done, "maps/b_mask.tif", "holds 6", "give class numbers (0, 1, 2, 3, 4, 5, 255)")


def test_a_figure_shows_mapped_truth(folders, run_tool):
    given = ["compare", "--images", folders / "own", *scored(folders, "--out", folders / "f.png")]
    refused(run_tool("figure.py", *given), "own/a_mask.tif", "--mapping")
    done = run_tool("figure.py", *given, "--mapping", folders / "mapping.toml")
    assert done.returncode == 0, done.stderr
    assert "scenes a b" in done.stdout


def test_a_report_of_mapped_truth_has_the_scores_of_the_same_mapping(folders, run_tool):
    run = make_finished_run(folders / "made").folder
    scores, mapping = folders / "scores.json", ("--mapping", folders / "mapping.toml")
    assert run_tool("evaluate.py", *scored(folders, *mapping, "--json", scores)).returncode == 0
    given = [run, "--scores", scores, "--images", folders / "own", *scored(folders)]
    refused(run_tool("report.py", *given), "own/a_mask.tif", "--mapping")
    done = run_tool("report.py", *given, *mapping)
    assert (done.returncode, done.stderr) == (0, "")
    other = folders / "other.toml"
    other.write_text(MAPPING.replace("water", "barren"))
    done = run_tool("report.py", *given, "--mapping", other, "--overwrite")
    refused(done, "scores.json", "holds other scores")
    refused(run_tool("report.py", run, "--overwrite", *mapping), "--mapping", "no true masks")
