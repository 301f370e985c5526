"""`sample.py` draws, an interpreter fills in, `area.py` estimates."""

import json

import cv2
import numpy as np
import pytest

from inference.scene_maps import write_map
from tests.conftest import refused
from tests.datasets import LAND

SAMPLE = ("sample.py", "maps", "--dataset", "deepglobe_land", "--pixel-size", 0.5)


@pytest.fixture
def maps(tmp_path):
    """A picture of three classes, in bands."""
    labels = np.repeat(np.array([0, 3, 5], np.uint8), 10)[:, None].repeat(40, axis=1)
    write_map(tmp_path / "maps" / "1_mask.png", labels, LAND)
    return tmp_path


def test_from_maps_to_areas(maps, run_tool):
    """The interpreter finds water in place of half of the forest, and everything else right."""
    sample = maps / "sample.csv"
    done = run_tool(*SAMPLE, "--per-class", 20, "--out", sample, cwd=maps)
    assert (done.returncode, done.stderr) == (0, "")
    assert "urban: 20 points of 400 pixels, 0.01 ha\nagriculture: 0 points of 0 pixels" in done.stdout
    header, *lines = sample.read_text().splitlines()
    filled, forest = [header], 0
    for line in lines:
        forest += ",forest," in line
        truth = "water" if ",forest," in line and forest % 2 else line.split(",")[3]
        filled.append(line.replace(",,", f",{truth},"))
    sample.write_text("\n".join([*filled[:-1], lines[-1]]))  # the last one has been forgotten
    command = ("area.py", sample, maps / "maps", "--json", maps / "areas.json")
    refused(run_tool(*command), "sample.csv: has 1 point of 60 without a reference")
    assert not (maps / "areas.json").exists()
    done = run_tool(*command, "--drop-missing")
    assert done.returncode == 0
    assert done.stderr == (
        "area.py: warning: 1 point without a reference left out: right only if chance decided which they "
        "are\n"
    )
    found = json.loads((maps / "areas.json").read_text())
    assert (found["points"], found["missing"]) == (59, 1)
    assert found["total_hectares"] == pytest.approx(0.03)
    assert found["hectares"]["water"]["value"] == pytest.approx(0.005, rel=0.06)
    assert found["overall_accuracy"]["value"] == pytest.approx(5 / 6, rel=0.02)
    assert "overall accuracy 8" in done.stdout


def test_mistakes_are_one_line_and_leave_nothing(maps, run_tool):
    refused(run_tool(*SAMPLE, "--standard-error", 0.01, "--out", "s.csv", cwd=maps), "--expected: has no")
    refused(run_tool(*SAMPLE, "--per-class", 5, "--out", "s.shp", cwd=maps), "'.shp'; use .gpkg or .csv")
    cv2.imwrite(str(maps / "maps" / "2_mask.png"), np.full((9, 9, 3), 77, np.uint8))
    refused(run_tool(*SAMPLE, "--per-class", 5, "--out", "s.csv", cwd=maps), "2_mask.png: is grey")
    (maps / "s.gpkg.design.json").write_text("somebody's")
    refused(run_tool(*SAMPLE, "--per-class", 5, "--out", "s.gpkg", cwd=maps), "design.json: exists already")
    assert sorted(path.name for path in maps.iterdir()) == ["maps", "s.gpkg.design.json"]
