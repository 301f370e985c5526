"""Nets of several backends live in one process without disturbing each other."""

import numpy as np
import pytest

from inference.backends import CAFFE, CAFFE_BF16, open_nets
from inference.deploy import read_deploy
from prototxt_gen.emit import net_text
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, build
from tests.prototxt_gen.random_net import write_random_net
from training.pycaffe import import_caffe
from training.weights import load_weights

pytestmark = pytest.mark.caffe
WIDE = ["densenet.growth_rate=8", "densenet.up_channels=16", "fusion.channels=16", "head_channels=16"]


@pytest.fixture
def fused(tiny, tmp_path):
    caffe = import_caffe()
    has_bf16 = caffe.set_prediction_bf16(True)
    caffe.set_prediction_bf16(False)
    if not has_bf16:
        pytest.skip("this CPU has no bfloat16")
    _, weights = write_random_net(tmp_path, read_experiment(tiny, WIDE))
    deploy = tmp_path / "fused.prototxt"
    net = build(read_experiment(tiny, [*WIDE, "densenet.dense_block='fused'"]), DEPLOY)
    deploy.write_text(net_text(net, ["x"]))
    return deploy, weights


def test_each_net_multiplies_in_its_own_precision_whichever_was_made_or_asked_last(fused):
    deploy, weights = fused
    tile = np.random.default_rng(2).normal(0, 1.2, (1, 3, 33, 33)).astype(np.float32)
    (exact,) = open_nets(CAFFE, read_deploy(deploy), [weights], "land")
    expected = exact(tile).copy()
    (rounded,) = open_nets(CAFFE_BF16, read_deploy(deploy), [weights], "land")
    np.testing.assert_array_equal(exact(tile), expected)
    answer = rounded(tile).copy()
    assert 0 < np.abs(answer - expected).max() < 0.1
    np.testing.assert_array_equal(exact(tile), expected)
    np.testing.assert_array_equal(rounded(tile), answer)
    caffe = import_caffe()
    bare = caffe.Net(str(deploy), caffe.TEST)  # one that sets nothing, as in training
    load_weights(bare, weights)
    bare.blobs["data"].data[...] = tile
    np.testing.assert_array_equal(bare.forward()["land_prob"], expected)
