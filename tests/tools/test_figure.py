"""The command draws the comparison, or says in one line what to fix."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.scene_maps import write_map
from tests.conftest import refused
from tests.datasets import LAND


@pytest.fixture
def folders(tmp_path):
    for id in ("1", "2"):
        cv2.imwrite(str(tmp_path / f"{id}_sat.jpg"), np.full((40, 40, 3), 99, np.uint8))
        for folder in (tmp_path, tmp_path / "maps"):
            write_map(folder / f"{id}_mask.png", np.full((40, 40), int(id), np.uint8), LAND)
    return tmp_path


def arguments(folder):
    named = {"images": folder, "truth": folder, "pred": folder / "maps", "out": folder / "f.png"}
    return [
        "compare",
        "--dataset",
        "deepglobe_land",
        *(word for key, value in named.items() for word in (f"--{key}", value)),
    ]


def test_it_draws_the_scenes_asked_for(folders, run_tool):
    done = run_tool("figure.py", *arguments(folders), "--names", "(a) DFCNet", "--scenes", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "f.png: scenes 2" in done.stdout
    one = cv2.imread(str(folders / "f.png"))
    assert run_tool("figure.py", *arguments(folders), "--rows", 2, "--overwrite").returncode == 0
    assert cv2.imread(str(folders / "f.png")).shape[0] > one.shape[0] * 1.5


def test_new_land_is_drawn_without_truth(folders, run_tool):
    words = arguments(folders)
    at = words.index("--truth")
    assert run_tool("figure.py", *words, "--scenes", "2").returncode == 0
    compared = cv2.imread(str(folders / "f.png"))
    done = run_tool("figure.py", *words[:at], *words[at + 2 :], "--scenes", "2", "--overwrite")
    assert (done.returncode, done.stderr) == (0, "")
    two = cv2.imread(str(folders / "f.png"))
    assert two.shape[1] * 3 == compared.shape[1] * 2
    middle = two.shape[1] // 4
    height = two.shape[0] // 3
    assert two[height, middle].tolist() == [99, 99, 99]  # the image
    assert two[height, 3 * middle].tolist() == list(LAND.palette[2][::-1])  # the map


@pytest.mark.parametrize(
    "change, words",
    [
        (["--names", "A", "B"], ["--names", "2 for 1"]),
        (["--rows", "0"], ["--rows", "is 0", "1 or more"]),
        (["--scenes", "9"], ["no mask of scene 9", "--scenes"]),
        (["--out", "f.bmp"], ["f.bmp", "'.bmp'", ".png"]),
        (["--pred", "none"], ["none", "is not a folder"]),
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


# A trunk of one blob, and a head of two convolutions, as the paper's.
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 33 dim: 33 } } }
layer { name: "stem" type: "Convolution" bottom: "data" top: "stem"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" std: 2 } } }
layer { name: "land/conv" type: "Convolution" bottom: "stem" top: "land/conv"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" std: 2 } } }
layer { name: "land/score" type: "Convolution" bottom: "land/conv" top: "land/score"
  convolution_param { num_output: 6 kernel_size: 1 weight_filler { type: "gaussian" std: 2 } } }
layer { name: "land_prob" type: "Softmax" bottom: "land/score" top: "land_prob" }
"""


@pytest.fixture
def model(folders):
    """The folder with a net of random weights in `first`, and another in `second`."""
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    for name in ("first", "second"):
        deploy = folders / name / "deploy.prototxt"
        deploy.parent.mkdir()
        deploy.write_text(NET)
        caffe.Net(str(deploy), caffe.TEST).save(str(folders / name / "net.caffemodel"))
    return folders


def of_models(folder, *names):
    deploy, weights = (
        [folder / name / file for name in names] for file in ("deploy.prototxt", "net.caffemodel")
    )
    return [
        "--dataset",
        "deepglobe_land",
        "--deploy",
        *deploy,
        "--weights",
        *weights,
        "--images",
        folder,
        "--out",
        folder / "f.png",
    ]


@pytest.mark.caffe
def test_features_of_two_models_stand_side_by_side(model, run_tool):
    given = ("features", *of_models(model, "first", "second"), "--blobs", "stem", "--rows", 1)
    done = run_tool("figure.py", *given, "--channels", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "first: stem, 1 times smaller than the image"
    assert "f.png: scenes 2" in done.stdout
    wide = cv2.imread(str(model / "f.png")).shape[1]
    assert run_tool("figure.py", *given, "--channels", 0, "--overwrite").returncode == 0
    assert cv2.imread(str(model / "f.png")).shape[1] < 0.7 * wide


@pytest.mark.caffe
@pytest.mark.parametrize(
    "change, words",
    [
        (["--tile", "64"], ["side 64 is not 32k+1"]),
        (["--channels", "-1"], ["--channels: is -1"]),
        (["--scenes", "9"], ["no image of scene 9"]),
        (["--names", "A"], ["--names: 1 for 2"]),
        (["--names", "A", "A"], ["A twice"]),
        (["--deploy", "a"], ["--deploy: 1 for 2"]),
        (["--blobs", "none"], ["no blob none"]),
    ],
)
def test_wrong_options_of_features_are_named(model, run_tool, change, words):
    given = ("features", *of_models(model, "first", "second"), *change)
    done = run_tool("figure.py", *given)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert not (model / "f.png").exists()


@pytest.mark.real_data
def test_real_scenes_are_drawn(tmp_path, run_tool):
    scenes = Path(os.environ["DFCNET_DATA"], "deepglobe", "land", "train")
    named = {"images": scenes, "truth": scenes, "pred": scenes, "out": tmp_path / "f.png", "rows": 2}
    done = run_tool(
        "figure.py",
        "compare",
        "--dataset",
        "deepglobe_land",
        *(w for key, value in named.items() for w in (f"--{key}", value)),
    )
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "f.png")).std() > 20
