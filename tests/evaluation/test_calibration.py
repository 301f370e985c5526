"""The temperature is that of the greatest likelihood; reliability is counted as its definition says."""

import cv2
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from common.errors import DataError
from common.files import file_checksum
from data_prep.read_options import ReadOptions
from data_prep.scenes import Scene
from evaluation import calibration
from evaluation.calibration import (
    Reliability,
    SceneSample,
    best_temperature,
    calibrate,
    likelihood_slopes,
    sample_scenes,
    unseen_scenes,
)
from inference.predictor import NormalizedNet, Predictor, tempered
from inference.scene_files import find_images
from inference.scene_maps import write_map
from tests.datasets import LAND


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def scene(temperature: float, pixels: int = 20_000, seed: int = 0) -> SceneSample:
    """Return pixels whose truth is drawn from the softmax of logits / temperature; the net has T = 1."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (4, pixels))
    chances = softmax(logits / temperature).cumsum(axis=0)
    labels = (random.random(pixels) > chances[:-1]).sum(axis=0)
    return SceneSample(str(seed), softmax(logits).astype(np.float32), labels.astype(np.uint8))


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_is_that_of_the_greatest_likelihood(true):
    samples = [scene(true, seed=1), scene(true, 500, seed=2)]
    found = best_temperature(sum(likelihood_slopes(sample) for sample in samples))
    assert found == pytest.approx(true, rel=0.03)

    def loss(log_temperature):
        total = 0.0
        for sample in samples:
            scaled = softmax(np.log(sample.probabilities.astype(float)) / np.exp(log_temperature))
            total -= np.log(scaled[sample.labels, np.arange(len(sample.labels))]).sum()
        return total

    assert found == pytest.approx(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x), rel=1e-3)


def test_a_net_that_is_never_wrong_gets_the_coolest_temperature_and_one_that_guesses_the_hottest():
    sure = np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)
    right, wrong = SceneSample("a", sure, np.array([0, 1])), SceneSample("b", sure, np.array([1, 0]))
    assert best_temperature(likelihood_slopes(right)) == pytest.approx(0.05)
    assert best_temperature(likelihood_slopes(wrong)) == pytest.approx(20)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_scaled_probabilities_are_the_softmax_of_scaled_logits(temperature):
    logits = np.random.default_rng(3).normal(0, 4, (6, 5, 7))
    scaled = tempered(softmax(logits).astype(np.float32), temperature)
    np.testing.assert_allclose(scaled, softmax(logits / temperature), atol=2e-6)
    np.testing.assert_array_equal(scaled.argmax(axis=0), logits.argmax(axis=0))


def test_probabilities_of_0_and_1_stay_so():
    certain = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    np.testing.assert_array_equal(tempered(certain, 4.0), certain)


def test_reliability_is_counted_bin_by_bin():
    random = np.random.default_rng(4)
    confidence = np.concatenate([random.uniform(0.2, 1, 500), [1.0, 2 / 15]]).astype(np.float32)
    right = random.random(502) < 0.6
    found, error = Reliability.of(confidence, right), 0.0
    for number in range(15):
        inside = (confidence > np.float32(number / 15)) & (confidence <= np.float32((number + 1) / 15))
        assert found.pixels[number] == inside.sum()
        if inside.any():
            assert found.accuracy[number] == pytest.approx(right[inside].mean())
            assert found.confidence[number] == pytest.approx(confidence[inside].mean())
            error += inside.sum() / 502 * abs(right[inside].mean() - confidence[inside].mean())
        else:
            assert np.isnan(found.accuracy[number])
    assert found.ece == pytest.approx(error)


def test_each_scene_is_judged_by_a_temperature_of_the_others():
    scenes = [scene(0.5, seed=1), scene(2.0, seed=2), scene(3.0, seed=3)]
    found = calibrate(scenes)
    hot = [
        best_temperature(sum(likelihood_slopes(other) for other in scenes if other is not each))
        for each in scenes
    ]
    confidence = [tempered(s.probabilities, t).max(axis=0) for s, t in zip(scenes, hot, strict=True)]
    right = [s.probabilities.argmax(axis=0) == s.labels for s in scenes]
    expected = Reliability.of(np.concatenate(confidence), np.concatenate(right))
    np.testing.assert_array_equal(found.after.pixels, expected.pixels)
    assert found.after.ece == pytest.approx(expected.ece)
    assert hot[0] > found.temperature > hot[2]


def test_calibration_at_least_halves_the_error_of_a_net_that_is_too_sure():
    found = calibrate([scene(2.0, seed=1), scene(2.2, seed=2)])
    assert found.before.ece > 0.1
    assert found.after.ece < found.before.ece / 2


def test_one_scene_cannot_be_judged():
    empty = SceneSample("b", np.zeros((4, 0), np.float32), np.zeros(0, np.uint8))
    with pytest.raises(DataError, match="calibration scenes: are 1 with a true class; give 2 or more"):
        calibrate([scene(1.0), empty])


class BlueNet:
    """Says class 0 with the share that the blue channel gives, else class 5."""

    side = 33

    def __call__(self, tiles):
        share = tiles[:, :1] / 255
        return np.concatenate([share, *[0 * share] * 4, 1 - share], axis=1)


@pytest.fixture
def folder(tmp_path):
    """Two scenes of 40 x 50 pixels; the upper half of the truth of the first is unknown."""
    for number in (1, 2):
        random = np.random.default_rng(number)
        cv2.imwrite(str(tmp_path / f"{number}_sat.png"), random.integers(0, 256, (40, 50, 3), np.uint8))
        labels = random.integers(0, 6, (40, 50)).astype(np.uint8)
        labels[:20] = 255 if number == 1 else labels[:20]
        write_map(tmp_path / f"{number}_mask.png", labels, LAND)
    return tmp_path


def samples(folder) -> list[SceneSample]:
    scenes = unseen_scenes(find_images([folder], LAND), folder, LAND, ())
    return sample_scenes(Predictor([NormalizedNet(BlueNet(), (0, 0, 0), 1.0)]), scenes, LAND, ReadOptions())


def test_what_predict_gives_is_sampled_where_the_truth_is_known(folder):
    first, second = samples(folder)
    assert (first.probabilities.shape, second.probabilities.shape) == ((6, 1000), (6, 2000))
    blue = cv2.imread(str(folder / "1_sat.png"))[20:, :, 0].ravel() / 255
    # Strips come from top to bottom, rows in order.
    np.testing.assert_allclose(first.probabilities[0], blue, atol=1e-6)
    assert set(first.labels) == set(range(6))


def test_of_large_scenes_a_random_part_is_kept_the_same_again(folder, monkeypatch):
    monkeypatch.setattr(calibration, "MAX_VALUES", 6 * 2 * 500)
    first, second = samples(folder)
    assert 200 < first.labels.size < 300
    assert 440 < second.labels.size < 560
    np.testing.assert_array_equal(samples(folder)[1].probabilities, second.probabilities)


def test_a_truth_of_another_size_is_refused(folder):
    write_map(folder / "2_mask.png", np.zeros((9, 8), np.uint8), LAND, overwrite=True)
    with pytest.raises(DataError, match=r"2_mask\.png: is 8x9, its image 50x40"):
        samples(folder)


def test_scenes_without_truth_and_those_that_trained_are_refused(folder):
    images = find_images([folder], LAND)
    seen = {file_checksum(folder / "2_sat.png")[:12]}
    with pytest.raises(DataError, match=r"2_sat\.png: has trained these weights"):
        unseen_scenes(images, folder, LAND, seen)
    (folder / "1_mask.png").unlink()
    with pytest.raises(DataError, match=r"lacks the true mask of scene 1"):
        unseen_scenes(images, folder, LAND, ())
    assert [each.mask.name for each in unseen_scenes(images[1:], folder, LAND, ())] == ["2_mask.png"]
    assert unseen_scenes(images[1:], folder, LAND, ()) == [
        Scene("2", folder / "2_sat.png", folder / "2_mask.png")
    ]
