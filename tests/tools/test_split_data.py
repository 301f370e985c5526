"""The split file that later commands read: no id in two parts, and old ids stay where they are."""

import json

import cv2
import numpy as np
import pytest

from tests.conftest import refused


def add(folder, ids) -> None:
    folder.mkdir(exist_ok=True)
    for id in ids:
        cv2.imwrite(str(folder / f"{id}_sat.jpg"), np.full((40, 40, 3), id % 256, np.uint8))
        cv2.imwrite(str(folder / f"{id}_mask.png"), np.full((40, 40, 3), (0, 255, 255), np.uint8))


@pytest.fixture
def images(tmp_path):
    add(tmp_path / "images", range(12))
    return tmp_path / "images"


def parts(path) -> tuple[set, set]:
    table = json.loads(path.read_text())
    return set(table["train"]), set(table["test"])


def test_it_splits_and_says_so(run_tool, images, tmp_path):
    done = run_tool(
        "split_data.py", "deepglobe_land", images, "--out", tmp_path / "s.json", "--train", 9, "--seed", 4
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "9 train and 3 test scenes, seed 4" in done.stdout
    train, test = parts(tmp_path / "s.json")
    assert train.isdisjoint(test)
    assert train | test == {str(n) for n in range(12)}


def test_extending_keeps_the_old_ids_where_they_are(run_tool, images, tmp_path):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    assert run_tool("split_data.py", "deepglobe_land", images, "--out", old, "--train", 9).returncode == 0
    add(images, range(12, 30))
    assert run_tool("split_data.py", "deepglobe_land", images, "--out", new, "--extend", old).returncode == 0
    for before, after in zip(parts(old), parts(new), strict=True):
        assert before <= after
    assert sum(map(len, parts(new))) == 30


@pytest.mark.caffe
def test_databases_of_the_two_parts_share_no_scene(run_tool, images, tmp_path):
    split = tmp_path / "s.json"
    assert run_tool("split_data.py", "deepglobe_land", images, "--out", split, "--train", 9).returncode == 0
    ids = []
    for part in ("train", "test"):
        build = ["build_lmdb.py", "dfcnet_demo", "land", "--images", images, "--out", tmp_path / part]
        done = run_tool(*build, "--split", split, "--part", part, "--workers", 1)
        assert done.returncode == 0, done.stderr
        manifest = json.loads((tmp_path / part / "manifest.json").read_text())
        assert manifest["split"]["part"] == part
        ids.append({entry["id"] for entry in manifest["inputs"]})
    assert tuple(ids) == parts(split)
    add(images, [50])
    refused(run_tool(*build, "--split", split, "--overwrite"), split, "lacks scene 50", "--extend")
    for name in ("50_sat.jpg", "50_mask.png", "0_sat.jpg", "0_mask.png"):
        (images / name).unlink()
    part = "train" if "0" in ids[0] else "test"
    refused(run_tool(*build, "--split", split, "--part", part, "--overwrite"), split, "as 0", "--leave-out")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("--train", "600 of 12 scenes", "give 1 to 11")),
        (("--train", 12), ("--train", "12 of 12")),
        (("--train", 3, "--seed", -1), ("--seed", "is -1")),
        (("--extend", "none.json"), ("none.json", "cannot be read")),
        (("--extend", "none.json", "--seed", 1), ("--extend", "comes with --seed", "leave that out")),
        (("--named", "glnet", "--train", 3), ("--named", "comes with --train")),
        (("--named", "glnet"), ("--named glnet", "lacks scene 0")),
        (("--named", "none"), ("--named", "none is not a published split", "glnet")),
    ],
)
def test_mistakes_end_in_one_line(run_tool, images, tmp_path, options, words):
    refused(
        run_tool("split_data.py", "deepglobe_land", images, "--out", "s.json", *options, cwd=tmp_path), *words
    )
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_published_split_is_taken_as_it_is_and_missing_scenes_are_counted(run_tool, tmp_path):
    """119 trains, 455374 validates, 606 tests; see the lists that datasets/splits/glnet.json names."""
    add(tmp_path / "land", [119, 455374, 606])
    split = tmp_path / "glnet.json"
    done = run_tool("split_data.py", "deepglobe_land", tmp_path / "land", "--named", "glnet", "--out", split)
    assert done.returncode == 0, done.stderr
    assert "454 train, 207 validation and 142 test scenes, as in train.txt" in done.stdout
    assert "800 scenes of 803 are not in the folders, as 100694" in done.stderr
    table = json.loads(split.read_text())
    assert "119" in table["train"]
    assert "455374" in table["validation"]
    assert "606" in table["test"]
