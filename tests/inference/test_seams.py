"""With a real net, a scene predicted whole and in tiles gives one map, away from the borders of classes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.deploy import read_deploy
from inference.loading import load_predictor
from tests.conftest import TINY, write_lmdb
from tests.inference.whole_maps import probabilities

pytestmark = pytest.mark.caffe
AWAY = 4  # pixels from a border between classes


def scene(side: int, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (image (side, side, 3), labels): patches of brightness with noise, as in the databases."""
    rng = np.random.default_rng(11)
    patches = rng.integers(0, 6, (side // patch + 1,) * 2)
    labels = np.kron(patches, np.ones((patch, patch), int))[:side, :side]
    return (labels[..., None] * 41 + rng.integers(0, 6, (side, side, 3))).astype(np.uint8), labels


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a small DFCNet that has learnt what those patches are, in a few seconds."""
    folder = tmp_path_factory.mktemp("seams")
    write_lmdb(folder / "land_lmdb", "land", 6, side=65, records=24)
    write_lmdb(folder / "road_lmdb", "road", 2, side=65, records=24)
    text = re.sub(r"(stem|head|fusion|up)_channels = 4", r"\1_channels = 8", TINY)
    for old, new in (
        ("crop = 33", "crop = 65"),
        ("growth_rate = 2", "growth_rate = 4"),
        ("batch_size = 4", "batch_size = 8"),
        ("images_per_pass = 2", "images_per_pass = 4"),
        ("base_lr = 0.05", "base_lr = 0.1"),
        ("max_iter = 6", "max_iter = 200"),
        ("snapshot = 4", "snapshot = 400"),
        ("display = 2", "display = 100"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "small.toml").write_text(text)
    tool = Path(__file__).parents[2] / "tools" / "train.py"
    command = [sys.executable, tool, "small.toml", "--cpu", "--run", "run"]
    # One thread: on a busy machine several of them wait for each other far longer than they work.
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=alone)
    return folder / "run"


def labels(run, image, **options) -> np.ndarray:
    deploy, weights = run / "deploy.prototxt", run / "weights.caffemodel"
    predictor, _ = load_predictor(read_deploy(deploy), weights, warn=pytest.fail, **options)
    return probabilities(predictor, image).argmax(axis=0)


def test_whole_and_in_tiles_agree_away_from_borders(run):
    image, truth = scene(257, 44)
    whole = labels(run, image, side=257)
    assert (whole == truth).mean() > 0.8  # it has learnt something
    border = np.zeros(whole.shape, np.uint8)
    border[:, 1:] |= whole[:, 1:] != whole[:, :-1]
    border[1:] |= whole[1:] != whole[:-1]
    away = cv2.dilate(border, np.ones((2 * AWAY + 1,) * 2, np.uint8)) == 0
    assert away.mean() > 0.5
    for options in ({"side": 65}, {"side": 97, "batch": 2}, {"side": 129, "overlap": 0}):
        tiled = labels(run, image, **options)
        assert (whole == tiled)[away].mean() >= 0.99, options
