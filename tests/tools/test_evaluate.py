"""The command prints scores and writes the same numbers, or says in one line what to fix."""

import json
import shutil

import cv2
import numpy as np
import pytest

from data_prep.splits import Split, write_split
from inference.scene_maps import write_map
from tests.conftest import refused
from tests.datasets import LAND, ROAD


@pytest.fixture
def folders(tmp_path):
    for folder, labels in (("truth", [[1, 1, 1, 4]]), ("maps", [[1, 1, 4, 4]])):
        for id in ("1", "2"):
            write_map(tmp_path / folder / f"{id}_mask.png", np.array(labels, np.uint8), LAND)
    return tmp_path


def arguments(folder):
    return ["--dataset", "deepglobe_land", "--truth", folder / "truth", "--pred", folder / "maps"]


def test_the_table_and_the_numbers_agree(folders, run_tool):
    done = run_tool("evaluate.py", *arguments(folders), "--json", folders / "new" / "score.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 scenes, 8 scored pixels" in done.stdout
    assert "58.33 %" in done.stdout  # (2/3 + 1/2) / 2
    assert "1.56 times the mIoU of always agriculture" in done.stdout  # against (3/4 + 0) / 2
    numbers = json.loads((folders / "new" / "score.json").read_text())
    assert numbers["miou"] == pytest.approx(7 / 12)
    assert numbers["always_commonest"]["ratio"] == pytest.approx(7 / 12 / (3 / 8))
    assert numbers["iou"]["urban"] is None


@pytest.mark.parametrize("count", [1, 2])
def test_warnings_are_in_the_numbers_too(folders, run_tool, count):
    (folders / "truth" / "3_mask.webp").write_bytes(b"almost a mask")
    (folders / "list.txt").write_text("nobody\n")
    shutil.copytree(folders / "maps", folders / "others")
    preds = [folders / name for name in ("maps", "others")[:count]]
    options = ["--dataset", "deepglobe_land", "--truth", folders / "truth", "--pred", *preds]
    options += ["--leave-out", folders / "list.txt", "--json", folders / "score.json"]
    done = run_tool("evaluate.py", *options)
    assert done.returncode == 0, done.stderr
    said = [line.removeprefix("evaluate.py: warning: ") for line in done.stderr.splitlines()]
    assert ["3_mask.webp" in said[0], "as nobody" in said[1], len(said)] == [True, True, 2]
    assert json.loads((folders / "score.json").read_text())["warnings"] == said


def test_roads_are_scored_too(tmp_path, run_tool):
    for folder, labels in (("truth", [[0, 1, 1]]), ("maps", [[0, 0, 1]])):
        write_map(tmp_path / folder / "1_mask.png", np.array(labels, np.uint8), ROAD)
    done = run_tool("evaluate.py", *arguments(tmp_path), "--dataset", "deepglobe_road")
    assert done.returncode == 0, done.stderr
    assert "always road" in done.stdout


def test_a_missing_prediction_is_named_unless_only_predicted(folders, run_tool):
    (folders / "maps" / "1_mask.png").unlink()
    refused(
        run_tool("evaluate.py", *arguments(folders)),
        "maps: lacks the prediction of scene 1",
        "--only-predicted",
    )
    done = run_tool("evaluate.py", *arguments(folders), "--only-predicted")
    assert "1 scene, 4 scored pixels" in done.stdout


@pytest.mark.parametrize("part", ["", "--leave-out left_out.txt", "--hold-out 2", "--split split.json"])
def test_a_map_without_its_true_mask_is_named(folders, run_tool, part):
    """Of the true masks 1 and 2 every second tests, and both by the split; scene 3 is in neither part."""
    write_map(folders / "maps" / "3_mask.png", np.array([[1, 1, 1, 4]], np.uint8), LAND)
    (folders / "left_out.txt").write_text("2\n")
    write_split(folders / "split.json", Split("deepglobe_land", 0, 0, (), ("1", "2")))
    done = run_tool("evaluate.py", *arguments(folders), *part.split(), cwd=folders)
    refused(done, "truth: lacks the true mask of scene 3", "remove the prediction")


def test_maps_of_scenes_that_are_not_asked_for_need_no_true_mask(folders, run_tool):
    (folders / "left_out.txt").write_text("1\n3\n")
    write_map(folders / "maps" / "3_mask.png", np.array([[1, 1, 1, 4]], np.uint8), LAND)
    done = run_tool("evaluate.py", *arguments(folders), "--leave-out", folders / "left_out.txt")
    assert done.returncode == 0, done.stderr
    assert "1 scene, 4 scored pixels" in done.stdout


def test_a_prediction_of_another_size_is_named(folders, run_tool):
    write_map(folders / "maps" / "2_mask.png", np.zeros((3, 3), np.uint8), LAND, overwrite=True)
    refused(run_tool("evaluate.py", *arguments(folders)), "2_mask.png", "3x3", "4x1")


def test_a_colour_of_no_class_is_named(folders, run_tool):
    cv2.imwrite(str(folders / "maps" / "2_mask.png"), np.full((1, 4, 3), (0, 0, 255), np.uint8))
    refused(
        run_tool("evaluate.py", *arguments(folders)),
        "maps/2_mask.png",
        "(255, 0, 0)",
        "not a colour of deepglobe_land",
    )


def test_existing_numbers_need_overwrite(folders, run_tool):
    path = folders / "score.json"
    path.write_text("old")
    refused(run_tool("evaluate.py", *arguments(folders), "--json", path), "score.json", "--overwrite")
    assert path.read_text() == "old"
    assert run_tool("evaluate.py", *arguments(folders), "--json", path, "--overwrite").returncode == 0
    assert json.loads(path.read_text())["scenes"] == ["1", "2"]


@pytest.mark.parametrize("option", ["--truth", "--pred"])
def test_a_missing_folder_is_named(folders, run_tool, option):
    refused(run_tool("evaluate.py", *arguments(folders), option, folders / "none"), "none: is not a folder")


@pytest.mark.parametrize(("ratio", "code"), [(1.5, 0), (1.6, 1)])
def test_a_score_that_must_be_reached_decides_the_exit_code(folders, run_tool, ratio, code):
    """The ratio of these folders is 7/12 to 3/8, 1.556."""
    done = run_tool("evaluate.py", *arguments(folders), "--at-least", ratio)
    assert done.returncode == code
    assert done.stderr == ("evaluate.py: ratio 1.56 is less than 1.6\n" if code else "")


def test_several_folders_give_one_table_and_files(folders, run_tool):
    files = [word for kind in ("json", "csv") for word in (f"--{kind}", folders / f"s.{kind}")]
    done = run_tool(
        "evaluate.py", *arguments(folders), folders / "truth", *files, "--figure", folders / "s.png"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "lead: mIoU above maps" in done.stdout
    numbers = json.loads((folders / "s.json").read_text())
    assert numbers["maps"]["truth"]["miou"] == 1
    assert "truth,miou,,1.0,1.0,1.0" in (folders / "s.csv").read_text().splitlines()
    assert cv2.imread(str(folders / "s.png")).shape[1] > 1000


def test_folders_of_one_name_need_names(folders, run_tool):
    given = (*arguments(folders), folders / "truth" / ".." / "maps")
    refused(run_tool("evaluate.py", *given), "--names", "maps twice")
    assert run_tool("evaluate.py", *given, "--names", "a", "b").returncode == 0


@pytest.mark.parametrize("option", ["resamples", "seed"])
def test_a_wrong_bootstrap_is_refused(folders, run_tool, option):
    refused(run_tool("evaluate.py", *arguments(folders), f"--{option}", "-1"), f"{option}: is -1")
