"""A calibration goes through its file, into the card, and into the reliability diagram."""

import cv2
import numpy as np
import pytest

from common.errors import DataError, OutputError, WeightsError
from evaluation.calibration import FittedTemperature, Reliability
from evaluation.calibration_files import (
    CalibrationFile,
    calibrated_card,
    read_calibration,
    uncalibrated_card,
)
from evaluation.reliability_figure import draw_reliability
from inference.loading import TrainedTask
from prototxt_gen.model_card import ModelCard, read_card, write_card
from tests.datasets import BGR, DATASETS, LAND, MEAN


def made(weights) -> CalibrationFile:
    """Return a calibration of 4,000 pixels that are right as often as their confidence says, squared."""
    random = np.random.default_rng(1)
    confidence = random.uniform(0.3, 1, 4_000)
    right = random.random(4_000) < confidence**2
    before, after = Reliability.of(confidence, right), Reliability.of(confidence**2, right)
    fitted = FittedTemperature(1.75, before, after)
    return CalibrationFile.of(fitted, TrainedTask("land", LAND, BGR, MEAN, 1.0), weights, [1.0], True, ["7"])


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"weights")
    card = {"experiment": "e", "model": "m", "iteration": 0, "crop": 33, "tasks": DATASETS}
    write_card(path, ModelCard(mean=MEAN, scale=1.0, **card))
    return path


def test_what_is_written_is_read(weights, tmp_path):
    found = made(weights)
    (tmp_path / "c.json").write_text(found.model_dump_json())
    assert read_calibration(tmp_path / "c.json") == found
    assert found.weights == "9a129038d9a00aed"  # sha256sum
    assert found.before.confidence[0] is None  # of an empty bin
    lines = found.text().splitlines()
    assert lines[0] == "land: temperature 1.750, 1 scene, 4,000 pixels"
    assert lines[1].startswith(f"expected calibration error: {100 * found.before.ece:.2f} % before, ")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(DataError, match=r"c\.json: is not a calibration .*dfcnet calibrate --json"):
        read_calibration(tmp_path / "c.json")
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_calibration(tmp_path / "none.json")


def test_the_card_keeps_what_it_has_of_other_tasks(weights):
    card = uncalibrated_card(weights, None, overwrite=False)
    road = calibrated_card(card, made(weights)).calibrations["land"]
    card = calibrated_card(card.model_copy(update={"calibrations": {"road": road}}), made(weights))
    write_card(weights, card)
    assert read_card(weights) == card
    entry = read_card(weights).calibrations["land"]
    assert (entry.temperature, entry.scales, entry.flip, entry.scenes) == (1.75, (1.0,), True, 1)
    assert set(card.calibrations) == {"land", "road"}
    for task in (None, "road"):
        with pytest.raises(OutputError, match=r"w\.json: has a temperature of .* already; give --overwrite"):
            uncalibrated_card(weights, task, overwrite=False)
        assert uncalibrated_card(weights, task, overwrite=True) == card


def test_weights_without_a_card_are_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"w\.caffemodel: has no model card w\.json to write"):
        uncalibrated_card(tmp_path / "w.caffemodel", None, overwrite=False)


def test_the_diagram_has_two_panels_and_needs_overwrite(weights, tmp_path):
    out = tmp_path / "reliability.png"
    draw_reliability(made(weights), out)
    height, width = cv2.imread(str(out)).shape[:2]
    assert width > 1.4 * height > 1000
    with pytest.raises(OutputError, match=r"reliability\.png: exists already"):
        draw_reliability(made(weights), out)
