"""An exported model is one that Deepness reads: its rules, by its code, are written down here."""

import json

import numpy as np
import pytest

from common.errors import WeightsError
from inference.caffe_net import CaffeNet
from inference.deploy import read_deploy
from inference.predictor import NormalizedNet
from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.deepness import to_deepness
from prototxt_gen.experiment import read_experiment
from prototxt_gen.model_card import read_card
from tests.datasets import LAND, changed
from tests.prototxt_gen.random_net import write_random_net

pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytestmark = pytest.mark.caffe


@pytest.fixture
def net(tiny, tmp_path):
    """A deploy net of land and road, its weights and their card."""
    return write_random_net(tmp_path, read_experiment(tiny, ["input.crop=65"]))


def exported(net, card=None, task="land", side=65):
    deploy, weights = net
    arguments = (read_deploy(deploy).net, read_caffemodel(weights), weights, card or read_card(weights))
    return to_deepness(*arguments, task, side, 50.0, 20).SerializeToString()


def opened(model: bytes):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options)


def test_the_model_follows_deepness_rules_of_a_segmentor(net):
    session = opened(exported(net))
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    assert given.shape[1:] == [3, 65, 65]
    assert isinstance(given.shape[0], str)  # batches of any size
    assert len(output.shape) == 4
    assert output.shape[-1] == output.shape[-2] == 65
    metadata = session.get_modelmeta().custom_metadata_map
    assert str(json.loads(metadata["model_type"])).capitalize() == "Segmentor"
    names = sorted(json.loads(metadata["class_names"]).items(), key=lambda entry: int(entry[0]))
    assert [int(key) for key, _ in names] == list(range(output.shape[1]))
    assert [name for _, name in names] == list(LAND.class_names)
    assert float(json.loads(metadata["resolution"])) == 50
    assert int(json.loads(metadata["tile_size"])) == given.shape[-1]
    assert int(json.loads(metadata["tiles_overlap"])) == 20
    assert float(json.loads(metadata["seg_thresh"])) == 0  # the likeliest class, however likely
    assert int(json.loads(metadata["seg_small_segment"])) == 0
    assert not {"standardization_mean", "standardization_std"} & metadata.keys()


@pytest.mark.parametrize("task", ["land", "road"])
def test_rgb_from_0_to_1_gives_the_probabilities_of_caffe(net, task):
    deploy, weights = net
    card = read_card(weights)
    tiles = np.random.default_rng(6).integers(0, 256, (2, 65, 65, 3), np.uint8)  # red, green, blue
    (found,) = opened(exported(net, task=task)).run(
        None, {"image": np.float32(tiles / 255).transpose(0, 3, 1, 2)}
    )
    caffe = NormalizedNet(CaffeNet(read_deploy(deploy), weights, task, 65), card.mean, card.scale)
    expected = caffe(tiles[..., ::-1])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_bands_that_are_not_colours_come_in_the_data_sets_order(net):
    """A file of nir, red, swir: the net's channels are swir, nir, red."""
    dataset = changed(LAND, bands=("nir", "red", "swir"))
    card = read_card(net[1]).model_copy(update={"bands": ("swir", "nir", "red"), "tasks": {"land": dataset}})
    tile = np.random.default_rng(7).random((1, 3, 65, 65), np.float32)
    (found,) = opened(exported(net, card)).run(None, {"image": tile})
    (expected,) = opened(exported(net)).run(None, {"image": tile[:, [1, 0, 2]]})  # red, green, blue: reversed
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_weights_that_learnt_with_a_stretch_are_refused(net):
    dataset = changed(LAND, stretch=(500, 1900))
    card = read_card(net[1]).model_copy(update={"tasks": {"land": dataset}})
    with pytest.raises(WeightsError, match=r"w\.json: learnt with a stretch of 500 to 1900, and Deepness"):
        exported(net, card)
