"""The command writes maps that equal numpy's, or says in one line what to mend."""

import cv2
import numpy as np
import pytest

from data_prep.classes import TASKS
from data_prep.splits import make_split, write_split
from inference.masks import read_labels
from prototxt_gen.model_card import ModelCard, write_card
from tests.conftest import refused
from tests.inference.pixel_net import by_hand, make_pixel_net, write_deploy

pytestmark = pytest.mark.caffe

MEAN, SCALE = (100.0, 110.0, 120.0), 0.02


@pytest.fixture
def work(tmp_path):
    """Two scenes, a net, its weights and card; return (folder, arguments, parameters)."""
    deploy, weights, parameters = make_pixel_net(tmp_path)
    tasks = {name: task.classes for name, task in TASKS.items()}
    card = {"experiment": "pixel", "model": "pixel", "iteration": 0, "crop": 33, "tasks": tasks}
    write_card(weights, ModelCard(mean=MEAN, scale=SCALE, **card))
    for id, size in (("7", (20, 31)), ("8", (70, 100))):
        pixels = np.random.default_rng(int(id)).integers(0, 256, (*size, 3), np.uint8)
        (tmp_path / "scenes").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "scenes" / f"{id}_sat.png"), pixels)
    arguments = ["--deploy", deploy, "--weights", weights, "--out", tmp_path / "maps", tmp_path / "scenes"]
    return tmp_path, arguments, parameters


@pytest.mark.parametrize("task", ["land", "road"])
def test_the_maps_equal_numpys(work, run_tool, task):
    folder, arguments, parameters = work
    done = run_tool("predict.py", *arguments, "--task", task, "--overlap", 5)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"2 {task} maps in {folder / 'maps'}, " in done.stdout
    assert "s a scene" in done.stdout
    for id in ("7", "8"):
        image = cv2.imread(str(folder / "scenes" / f"{id}_sat.png"))
        expected = by_hand(image, parameters[f"{task}_score"], MEAN, SCALE)
        ordered = np.sort(expected, axis=-1)
        sure = ordered[..., -1] - ordered[..., -2] > 1e-5
        labels = read_labels(folder / "maps" / f"{id}_mask.png", TASKS[task])
        np.testing.assert_array_equal(labels[sure], expected.argmax(axis=-1)[sure])
    assert sorted(path.name for path in (folder / "maps").iterdir()) == ["7_mask.png", "8_mask.png"]


def test_without_a_card_it_warns_what_it_assumes(work, run_tool):
    folder, arguments, _ = work
    (folder / "net.json").unlink()
    done = run_tool("predict.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert "warning" in done.stderr
    assert "103.94 116.78 123.68" in done.stderr
    assert "0.017" in done.stderr


def test_only_the_held_out_scenes_where_asked(work, run_tool):
    folder, arguments, _ = work
    assert run_tool("predict.py", *arguments, "--hold-out", 2).returncode == 0
    assert [path.name for path in (folder / "maps").iterdir()] == ["8_mask.png"]


def test_existing_maps_need_overwrite(work, run_tool):
    folder, arguments, _ = work
    old = folder / "maps" / "8_mask.png"
    old.parent.mkdir()
    old.write_bytes(b"old")
    refused(run_tool("predict.py", *arguments), str(old), "exists already", "--overwrite")
    assert [path.read_bytes() for path in old.parent.iterdir()] == [b"old"]
    assert run_tool("predict.py", *arguments, "--overwrite").returncode == 0
    assert read_labels(old, TASKS["land"]).shape == (70, 100)


def test_a_truncated_image_is_named_and_leaves_nothing_half_written(work, run_tool):
    folder, arguments, _ = work
    path = folder / "scenes" / "7_sat.png"
    path.write_bytes(path.read_bytes()[:200])
    refused(run_tool("predict.py", *arguments), str(path), "cut off after 200 bytes", "again")
    assert not (folder / "maps").exists()


@pytest.mark.parametrize(
    "change, words",
    [
        (["--deploy", "none.prototxt"], ["none.prototxt", "cannot be read"]),
        (["--weights", "none.caffemodel"], ["none.caffemodel", "cannot be read"]),
        (["--tile", "64"], ["tile side 64 is not 32k+1", "take 33 or 65"]),
        (["--overlap", "33"], ["overlap", "33", "choose 0 to 32"]),
        (["--hold-out", "0"], ["--hold-out", "is 0"]),
    ],
)
def test_a_wrong_option_is_named(work, run_tool, change, words):
    folder, arguments, _ = work
    refused(run_tool("predict.py", *arguments, *change, cwd=folder), *words)
    assert not (folder / "maps").exists()


def test_weights_that_do_not_fit_are_named(work, run_tool):
    folder, arguments, _ = work
    write_deploy(folder / "deploy.prototxt", 33, land=6, road=3)
    refused(run_tool("predict.py", *arguments), "net.caffemodel", "road_score", "2", "3")


def test_an_empty_folder_is_named(work, run_tool):
    folder, arguments, _ = work
    (folder / "empty").mkdir()
    refused(run_tool("predict.py", *arguments[:-1], folder / "empty"), "empty: holds no image")


def test_only_the_test_part_of_a_split_where_asked(work, run_tool):
    folder, arguments, _ = work
    split = make_split("land", ["7", "8"], 1, 0)
    write_split(folder / "split.json", split)
    assert run_tool("predict.py", *arguments, "--split", folder / "split.json").returncode == 0
    assert [path.name for path in (folder / "maps").iterdir()] == [f"{split.test[0]}_mask.png"]
    done = run_tool("predict.py", *arguments, "--split", folder / "none.json")
    refused(done, "none.json", "cannot be read")
