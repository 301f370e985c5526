"""Folded nets answer as the plain ones do, and hold no BatchNorm."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import NetError, WeightsError
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.emit import net_message, net_text
from prototxt_gen.experiment import read_experiment
from prototxt_gen.fold import fold
from prototxt_gen.fused_weights import fuse_weights
from prototxt_gen.models import DEPLOY, build
from prototxt_gen.prototxt import read_net
from tests.prototxt_gen.random_net import answer, random_weights

pytestmark = pytest.mark.caffe
SOLVERS = Path(__file__).parents[2] / "solvers"
PLAIN = ["densenet.dense_block='plain'"]


@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet", "dfcnet_demo"])
def test_a_folded_net_answers_alike_and_holds_no_batchnorm(tmp_path, name):
    exp = read_experiment(SOLVERS / name / "experiment.toml", PLAIN)
    plain = build(exp, DEPLOY, crop=65)
    weights = random_weights(plain)
    net, folded_weights = fold(net_message(plain), weights, "w", exp.input.scale)
    image = np.random.default_rng(2).uniform(-120, 140, (1, 3, 65, 65)).astype(np.float32)
    expected = answer(tmp_path, net_text(plain, ["plain"]), weights, image * np.float32(exp.input.scale))
    got = answer(tmp_path, str(net), folded_weights, image)
    for task in exp.task_names():
        score = expected[f"{task}_score"]
        error = np.abs(got[f"{task}_score"] - score).max() / np.abs(score).max()
        assert error < 1e-4
        assert score.std() > 0.01  # an answer that depends on the image
    assert not [layer for layer in net.layer if layer.type == "BatchNorm"]


@pytest.mark.parametrize("name", ["baseline", "dfcnet"])
def test_only_what_others_read_keeps_a_scale(name):
    """A unit's first BatchNorm stands behind Concat; behind its 1x1 convolution there is a bias instead."""
    plain = build(read_experiment(SOLVERS / name / "experiment.toml"), DEPLOY)
    net, _ = fold(net_message(plain), random_weights(plain), "w")
    biased = {
        layer.name for layer in net.layer if layer.type == "Convolution" and layer.convolution_param.bias_term
    }
    units = {2: 6, 3: 12, 4: 24, 5: 16, 6: 24, 7: 12, 8: 6} | ({9: 4} if name == "dfcnet" else {})
    names = {f"conv{block}_{unit}" for block, number in units.items() for unit in range(1, number + 1)}
    tasks = ["land", "road"] if name == "dfcnet" else ["land"]
    heads = {f"{task}/{layer}" for task in tasks for layer in ("conv", "score")}
    assert biased == {"conv1", *(f"{unit}/x1" for unit in names), *heads}
    scales = {layer.name for layer in net.layer if layer.type == "Scale"}
    fusion = {f"fusion{block}/scale" for block in units} if name == "dfcnet" else set()
    downs = {f"conv{block}_blk/scale" for block in units if block < 9}
    assert scales == {*(f"{unit}/x1/scale" for unit in names), *downs, *fusion}


def prototxt(text: str):
    from google.protobuf import text_format

    return text_format.Parse(text, caffe_pb2().NetParameter())


ONE = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
        convolution_param { num_output: 1 kernel_size: 1 bias_term: false } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "bn" batch_norm_param { eps: 0 } }
layer { name: "s" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
"""


def values(*numbers: float) -> list[np.ndarray]:
    return [np.full((1,), number, np.float32) for number in numbers]


def test_one_channel_folded_by_hand():
    weights = {"c": [np.full((1, 1, 1, 1), 2.0)], "bn": values(6, 8, 2), "s": values(5, 1)}
    # mean 6/2 = 3, variance 8/2 = 4: y = 5 (2x - 3) / 2 + 1 = 5x - 6.5; with x = 3 input: 15 input - 6.5
    net, folded = fold(prototxt(ONE), weights, "w", input_scale=3.0)
    assert [(layer.name, list(layer.top)) for layer in net.layer] == [("data", ["data"]), ("c", ["bn"])]
    assert net.layer[1].convolution_param.bias_term
    assert (folded["c"][0].item(), folded["c"][1].item()) == (15.0, -6.5)


def test_a_batchnorm_that_has_seen_nothing_folds_to_its_eps():
    weights = {"c": [np.full((1, 1, 1, 1), 2.0)], "bn": values(0, 0, 0), "s": values(1, 4)}
    net = prototxt(ONE.replace("eps: 0", "eps: 0.25"))
    _, folded = fold(net, weights, "w")
    assert (folded["c"][0].item(), folded["c"][1].item()) == (4.0, 4.0)


def test_a_batchnorm_whose_input_others_read_stays_as_a_scale():
    weights = {"c": [np.full((1, 1, 1, 1), 2.0)], "bn": values(6, 8, 2), "s": values(5, 1)}
    text = ONE + 'layer { name: "sum" type: "Eltwise" bottom: "c" bottom: "bn" top: "sum" }'
    net, folded = fold(prototxt(text), weights, "w")
    assert [layer.type for layer in net.layer] == ["Input", "Convolution", "Scale", "Eltwise"]
    assert [blob.item() for blob in folded["s"]] == [2.5, -6.5]
    assert list(net.layer[2].bottom) == ["c"]


def test_a_batchnorm_without_scale_is_refused():
    net = prototxt(ONE.rsplit("layer {", 1)[0])
    with pytest.raises(NetError, match="BatchNorm bn is not followed by a Scale in place"):
        fold(net, {"c": [np.ones((1, 1, 1, 1))], "bn": values(0, 1, 1)}, "deploy.prototxt")


@pytest.mark.parametrize("layer", ["c", "bn", "s"])
def test_missing_weights_are_named(layer):
    weights = {"c": [np.ones((1, 1, 1, 1))], "bn": values(0, 1, 1), "s": values(1, 0)}
    del weights[layer]
    with pytest.raises(WeightsError, match=f"w.caffemodel: layer {layer} has no weights"):
        fold(prototxt(ONE), weights, "w.caffemodel")


def test_weights_survive_being_written_and_read(tmp_path):
    weights = {"c": [np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1)], "s": values(0.1, -2)}
    write_caffemodel(tmp_path / "w.caffemodel", "net", weights)
    read = read_caffemodel(tmp_path / "w.caffemodel")
    assert list(read) == ["c", "s"]
    for name, blobs in weights.items():
        for blob, got in zip(blobs, read[name], strict=True):
            np.testing.assert_array_equal(got, blob)
            assert got.dtype == np.float32


def test_weights_of_fused_layers_fold_as_plain_ones_do(tmp_path):
    plain = build(read_experiment(SOLVERS / "dfcnet_demo" / "experiment.toml", PLAIN), DEPLOY, crop=65)
    (tmp_path / "deploy.prototxt").write_text(net_text(plain, ["plain"]))
    net, weights = read_net(tmp_path / "deploy.prototxt"), random_weights(plain)
    expected, got = fold(net, weights, "w")[1], fold(net, fuse_weights(weights), "w")[1]
    assert list(got) == list(expected)
    for name, blobs in expected.items():
        for a, b in zip(got[name], blobs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_net_of_fused_layers_folds_into_plain_ones_that_answer_alike(tmp_path):
    path = SOLVERS / "dfcnet_demo" / "experiment.toml"
    plain = build(read_experiment(path, PLAIN), DEPLOY, crop=65)
    weights, image = random_weights(plain), np.random.default_rng(2).normal(size=(1, 3, 65, 65))
    answers = []
    for form in ("plain", "fused"):
        net = build(read_experiment(path, [f"densenet.dense_block='{form}'"]), DEPLOY, crop=65)
        (tmp_path / "deploy.prototxt").write_text(net_text(net, [form]))
        given = weights if form == "plain" else fuse_weights(weights)
        folded, folded_weights = fold(read_net(tmp_path / "deploy.prototxt"), given, "w")
        assert {layer.type for layer in folded.layer} < {"Convolution", *(x.type for x in plain.layers)}
        answers.append(answer(tmp_path, str(folded), folded_weights, image))
    for name in ("land_prob", "road_prob"):
        np.testing.assert_allclose(answers[1][name], answers[0][name], rtol=1e-4, atol=1e-6)
