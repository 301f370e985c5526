"""The command folds trained weights: predictions stay, BatchNorm goes."""

import numpy as np
import pytest

from prototxt_gen.model_card import read_card
from prototxt_gen.prototxt import read_net
from tests.inference import whole_maps

pytestmark = pytest.mark.caffe


@pytest.fixture
def trained(tiny, tmp_path, run_tool):
    tiny.write_text(
        tiny.read_text().replace("max_iter = 6", "max_iter = 60").replace("display = 2", "display = 60")
    )
    done = run_tool("train.py", tiny, "--cpu")
    assert done.returncode == 0, done.stderr
    return tmp_path / "runs" / "tiny"


def fold(run_tool, run, *options):
    return run_tool(
        "fold_bn.py", "--deploy", run / "deploy.prototxt", "--weights", run / "weights.caffemodel", *options
    )


def probabilities(deploy, weights, image):
    from inference.deploy import read_deploy
    from inference.loading import load_predictor

    predictor, _ = load_predictor(read_deploy(deploy), weights, warn=pytest.fail)
    return whole_maps.probabilities(predictor, image)


def test_trained_weights_predict_the_same_without_batchnorm(trained, tmp_path, run_tool):
    done = fold(run_tool, trained, "--out", tmp_path / "folded")
    assert done.returncode == 0, done.stderr
    folded = tmp_path / "folded"
    assert not [layer for layer in read_net(folded / "deploy.prototxt").layer if layer.type == "BatchNorm"]
    assert read_card(folded / "weights.caffemodel").scale == 1.0
    image = np.random.default_rng(4).integers(0, 256, (50, 70, 3), np.uint8)
    expected = probabilities(trained / "deploy.prototxt", trained / "weights.caffemodel", image)
    got = probabilities(folded / "deploy.prototxt", folded / "weights.caffemodel", image)
    assert np.abs(got - expected).max() < 1e-4 * expected.max()
    assert expected.std() > 0.01
    assert fold(run_tool, trained, "--out", folded).returncode == 2


def test_weights_without_a_card_keep_the_inputs_scale_outside(trained, tmp_path, run_tool):
    (trained / "weights.json").unlink()
    done = fold(run_tool, trained, "--out", tmp_path / "folded")
    assert done.returncode == 0, done.stderr
    assert "has no model card: the input's scale stays outside the net" in done.stdout
    assert not (tmp_path / "folded" / "weights.json").exists()


def test_weights_of_another_net_are_refused_and_nothing_is_left(trained, tmp_path, run_tool):
    text = (trained / "deploy.prototxt").read_text().replace('"conv3_1/x1"', '"conv3_one/x1"')
    (trained / "deploy.prototxt").write_text(text)
    done = fold(run_tool, trained, "--out", tmp_path / "folded")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "weights.caffemodel: layer conv3_one/x1 has no weights" in done.stderr
    assert not (tmp_path / "folded").exists()
