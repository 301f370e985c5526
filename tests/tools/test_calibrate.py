"""`calibrate.py` writes a temperature into the card, and `predict.py` uses it; no class changes."""

import json

import cv2
import numpy as np
import pytest
import rasterio

from inference.scene_maps import write_map
from prototxt_gen.model_card import ModelCard, read_card, write_card
from tests.conftest import refused
from tests.datasets import DATASETS, LAND
from tests.inference.pixel_net import by_hand, make_pixel_net

pytestmark = pytest.mark.caffe
MEAN, SCALE = (100.0, 110.0, 120.0), 0.02
SURE = 2.0  # the net's logits are so many times those that the truth is drawn from


@pytest.fixture
def work(tmp_path):
    """Scenes whose truth is drawn from the net's probabilities at a temperature of SURE."""
    deploy, weights, parameters = make_pixel_net(tmp_path)
    card = {"experiment": "pixel", "model": "pixel", "iteration": 0, "crop": 33, "tasks": DATASETS}
    write_card(weights, ModelCard(mean=MEAN, scale=SCALE, **card))
    (tmp_path / "scenes").mkdir()
    for number in (1, 2, 3):
        random = np.random.default_rng(number)
        image = random.integers(0, 256, (60, 70, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "scenes" / f"{number}_sat.png"), image)
        powers = by_hand(image, parameters["land_score"], MEAN, SCALE) ** (1 / SURE)
        chances = (powers / powers.sum(axis=-1, keepdims=True)).cumsum(axis=-1)
        labels = (random.random((60, 70, 1)) > chances[..., :-1]).sum(axis=-1)
        write_map(tmp_path / "scenes" / f"{number}_mask.png", labels.astype(np.uint8), LAND)
    return tmp_path, ("--deploy", deploy, "--weights", weights), parameters["land_score"]


def test_the_card_gets_the_temperature_and_predict_uses_it(work, run_tool):
    folder, net, parameters = work
    scenes = ("--images", folder / "scenes", "--truth", folder / "scenes")
    predict = ("predict.py", *net, "--out", folder / "maps", folder / "scenes", "--probabilities")
    assert run_tool(*predict).returncode == 0
    before = {path.name: path.read_bytes() for path in (folder / "maps").glob("*_mask.png")}
    done = run_tool("calibrate.py", *net, *scenes, "--json", folder / "calibration.json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((folder / "calibration.json").read_text())
    assert found["temperature"] == pytest.approx(SURE, rel=0.05)
    assert found["after"]["ece"] < found["before"]["ece"] / 2
    assert f"error: {100 * found['before']['ece']:.2f} % before" in done.stdout
    entry = read_card(net[3]).calibrations["land"]
    assert (entry.temperature, entry.scenes) == (found["temperature"], 3)

    done = run_tool(*predict)
    refused(done, "_mask.png: was made with temperature None, now it is ", "--overwrite")
    assert run_tool(*predict, "--overwrite").returncode == 0
    assert before == {path.name: path.read_bytes() for path in (folder / "maps").glob("*_mask.png")}
    with rasterio.open(folder / "maps" / "2_probabilities.tif") as file:
        scaled = file.read() / 254
    image = cv2.imread(str(folder / "scenes" / "2_sat.png"))
    powers = by_hand(image, parameters, MEAN, SCALE) ** (1 / found["temperature"])
    expected = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(np.moveaxis(scaled, 0, -1), expected, atol=0.51 / 254)

    refused(run_tool("calibrate.py", *net, *scenes), "net.json: has a temperature of land already")
    done = run_tool(*predict, "--flip", "--out", folder / "flipped")
    assert done.returncode == 0
    assert "warning" in done.stderr
    assert "calibrated for one net at --scales 1: other probabilities stay as they are" in done.stderr
    settings = json.loads((folder / "flipped" / "manifests" / "1.json").read_text())["settings"]
    assert "temperature" not in settings


def test_maps_without_probabilities_do_not_depend_on_a_temperature(work, run_tool):
    folder, net, _ = work
    predict = ("predict.py", *net, "--out", folder / "maps", folder / "scenes")
    assert run_tool(*predict).returncode == 0
    scenes = ("--images", folder / "scenes", "--truth", folder / "scenes")
    assert run_tool("calibrate.py", *net, *scenes).returncode == 0
    done = run_tool(*predict)
    assert (done.returncode, "3 finished before" in done.stdout) == (0, True)


def test_weights_without_a_card_are_refused(work, run_tool):
    folder, net, _ = work
    net[3].with_suffix(".json").unlink()
    done = run_tool("calibrate.py", *net, "--images", folder / "scenes", "--truth", folder / "scenes")
    refused(done, "net.caffemodel: has no model card net.json to write a temperature into")
