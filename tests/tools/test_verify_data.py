"""The command says whether a data set can be used, and its list makes it usable."""

import json

import cv2
import numpy as np
import pytest

from tests.conftest import refused


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}_sat.jpg"), rng.integers(0, 256, (40, 40, 3), np.uint8))
        cv2.imwrite(str(folder / f"{number}_mask.png"), np.full((40, 40, 3), (0, 255, 255), np.uint8))
    return folder


def test_a_sound_set_ends_with_0_and_a_table(run_tool, images, tmp_path):
    done = run_tool("verify_data.py", "deepglobe_land", images, "--json", tmp_path / "report.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 sound scenes of DeepGlobe land cover; usable" in done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("agriculture")]
    assert line.split() == ["agriculture", "8,000", "100.000%"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["usable"] is True
    assert report["shares"]["agriculture"] == 1
    assert [scene["id"] for scene in report["scenes"]] == list("01234")


@pytest.mark.caffe
def test_the_fix_list_makes_a_broken_set_usable_and_buildable(run_tool, images, tmp_path):
    broken = images / "3_sat.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    fix = tmp_path / "fix.txt"
    done = run_tool("verify_data.py", "deepglobe_land", images, "--fix-list", fix, "--workers", 2)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{broken}: is cut off after 300 bytes" in done.stdout
    assert "not usable as it is: 1 problem\n" in done.stdout
    assert run_tool("verify_data.py", "deepglobe_land", images, "--leave-out", fix).returncode == 0
    build = ["build_lmdb.py", "dfcnet_demo", "land", "--images", images, "--out", tmp_path / "db"]
    assert run_tool(*build).returncode == 2
    done = run_tool(*build, "--leave-out", fix)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "db" / "manifest.json").read_text())["split"] == {"leave_out": ["3"]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--workers", 0), ("--workers", "is 0")),
        (("--json", "old.json"), ("old.json", "exists already", "--overwrite")),
        (("--leave-out", "none.txt"), ("none.txt", "cannot be read")),
        (("nowhere",), ("nowhere", "is not a folder")),
    ],
)
def test_mistakes_end_in_one_line(run_tool, images, tmp_path, options, words):
    (tmp_path / "old.json").write_text("{}")
    refused(run_tool("verify_data.py", "deepglobe_land", images, *options, cwd=tmp_path), *words)
    assert (tmp_path / "old.json").read_text() == "{}"


def test_masks_without_any_class_are_not_usable_and_files_that_almost_fit_are_named(
    run_tool, images, tmp_path
):
    for number in range(5):
        cv2.imwrite(str(images / f"{number}_mask.png"), np.zeros((40, 40, 3), np.uint8))
    (images / "5_sat.webp").touch()
    done = run_tool("verify_data.py", "deepglobe_land", images, "--json", tmp_path / "report.json")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"1 file left out, as {images}/5_sat.webp: " in done.stdout
    assert "5 scenes without a labelled pixel, as 0\n" in done.stdout
    assert done.stdout.endswith("not usable as it is: no pixel has a class\n")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["usable"], report["unlabelled"]) == (False, list("01234"))
    assert len(report["warnings"]) == 1
