"""The command draws the comparison, or says in one line what to mend."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.classes import TASKS
from inference.masks import write_map
from tests.conftest import refused


@pytest.fixture
def folders(tmp_path):
    for id in ("1", "2"):
        cv2.imwrite(str(tmp_path / f"{id}_sat.jpg"), np.full((40, 40, 3), 99, np.uint8))
        for folder in (tmp_path, tmp_path / "maps"):
            write_map(folder / f"{id}_mask.png", np.full((40, 40), int(id), np.uint8), TASKS["land"])
    return tmp_path


def arguments(folder):
    named = {"images": folder, "truth": folder, "pred": folder / "maps", "out": folder / "f.png"}
    return ["compare", *(word for key, value in named.items() for word in (f"--{key}", value))]


def test_it_draws_the_scenes_asked_for(folders, run_tool):
    done = run_tool("figure.py", *arguments(folders), "--names", "(a) DFCNet", "--scenes", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "f.png: scenes 2" in done.stdout
    one = cv2.imread(str(folders / "f.png"))
    assert run_tool("figure.py", *arguments(folders), "--rows", 2, "--overwrite").returncode == 0
    assert cv2.imread(str(folders / "f.png")).shape[0] > one.shape[0] * 1.5


@pytest.mark.parametrize(
    "change, words",
    [
        (["--names", "A", "B"], ["--names", "2 for 1"]),
        (["--rows", "0"], ["--rows", "is 0", "1 or more"]),
        (["--scenes", "9"], ["no mask of scene 9", "--scenes"]),
        (["--out", "f.bmp"], ["f.bmp", "'.bmp'", ".png"]),
        (["--pred", "none"], ["none", "is no folder"]),
    ],
)
def test_a_wrong_option_is_named_and_nothing_written(folders, run_tool, change, words):
    before = sorted(folders.iterdir())
    refused(run_tool("figure.py", *arguments(folders), *change, cwd=folders), *words)
    assert sorted(folders.iterdir()) == before


def test_an_existing_figure_needs_overwrite(folders, run_tool):
    (folders / "f.png").write_bytes(b"old")
    refused(run_tool("figure.py", *arguments(folders)), "f.png", "exists already", "--overwrite")
    assert (folders / "f.png").read_bytes() == b"old"


@pytest.mark.real_data
def test_real_scenes_are_drawn(tmp_path, run_tool):
    scenes = Path(os.environ["DFCNET_DATA"], "deepglobe", "land", "train")
    named = {"images": scenes, "truth": scenes, "pred": scenes, "out": tmp_path / "f.png", "rows": 2}
    done = run_tool("figure.py", "compare", *(w for key, value in named.items() for w in (f"--{key}", value)))
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "f.png")).std() > 20
