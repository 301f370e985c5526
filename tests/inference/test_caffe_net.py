"""Caffe's answers equal numpy's, and what does not fit is refused before Caffe ends the process."""

import numpy as np
import pytest

from common.errors import NetError, WeightsError
from inference.caffe_net import CaffeNet
from inference.deploy import read_deploy
from prototxt_gen.caffemodel import write_caffemodel
from tests.inference.pixel_net import by_hand, make_pixel_net, write_deploy

pytestmark = pytest.mark.caffe


@pytest.fixture
def pixel_net(tmp_path):
    return make_pixel_net(tmp_path)


@pytest.mark.parametrize("task, classes", [("land", 6), ("road", 2)])
@pytest.mark.parametrize("side, count", [(None, 1), (None, 3), (65, 2)])
def test_probabilities_equal_numpys(pixel_net, task, classes, side, count):
    deploy, weights, parameters = pixel_net
    net = CaffeNet(read_deploy(deploy), weights, task, side)
    assert (net.side, net.classes) == (side or 33, classes)
    tiles = np.random.default_rng(0).normal(size=(count, 3, net.side, net.side)).astype(np.float32)
    for part in (tiles, tiles[:1], tiles):  # the batch may change from call to call
        expected = by_hand(part.transpose(0, 2, 3, 1), parameters[f"{task}_score"], 0, 1.0)
        np.testing.assert_allclose(net(part), expected.transpose(0, 3, 1, 2), atol=1e-6)


def test_the_other_tasks_head_is_neither_loaded_nor_computed(tmp_path, pixel_net):
    deploy = write_deploy(tmp_path / "other.prototxt", 33, land=6, road=5)  # the file has 2 for road
    net = CaffeNet(read_deploy(deploy), pixel_net[1], "land")
    assert "land_score" in net._net._layer_names
    assert not [name for name in net._net._layer_names if name.startswith("road")]
    with pytest.raises(WeightsError, match="road_score"):
        CaffeNet(read_deploy(deploy), pixel_net[1], "road")


def test_a_missing_task_is_named(tmp_path, pixel_net):
    deploy = write_deploy(tmp_path / "land.prototxt", 33, land=6)
    with pytest.raises(NetError, match=r"land\.prototxt: has no output road_prob .*land_prob"):
        CaffeNet(read_deploy(deploy), pixel_net[1], "road")


def test_a_side_that_is_not_32k_plus_1_is_named(pixel_net):
    with pytest.raises(NetError, match="side 64 is not"):
        CaffeNet(read_deploy(pixel_net[0]), pixel_net[1], "land", side=64)


def test_weights_of_another_shape_are_named(tmp_path, pixel_net):
    deploy = write_deploy(tmp_path / "other.prototxt", 33, land=5)
    with pytest.raises(WeightsError, match=r"net\.caffemodel: layer land_score"):
        CaffeNet(read_deploy(deploy), pixel_net[1], "land")


def test_a_layer_that_this_caffe_lacks_is_named(tmp_path, pixel_net):
    deploy = write_deploy(tmp_path / "deploy.prototxt", 33, land=6)
    deploy.write_text(deploy.read_text().replace('"Softmax"', '"Softest"'))
    with pytest.raises(NetError, match="no layer Softest"):
        CaffeNet(read_deploy(deploy), pixel_net[1], "land")


def test_an_answer_of_another_size_is_named(tmp_path, pixel_net):
    deploy = write_deploy(tmp_path / "deploy.prototxt", 33, land=6)
    deploy.write_text(deploy.read_text().replace("kernel_size: 1", "kernel_size: 1 stride: 2"))
    with pytest.raises(NetError, match=r"land_prob \(1, 6, 17, 17\) to a tile of 33"):
        CaffeNet(read_deploy(deploy), pixel_net[1], "land")


def test_a_tile_whose_columns_caffe_cannot_count_is_refused(tmp_path):
    """3x3 windows of 32 channels: 288 values a pixel, over 2^31 - 1 at 2,753 x 2,753; no blob has so many."""
    head = """
layer { name: "wide" type: "Convolution" bottom: "data" top: "wide" convolution_param {
    num_output: 32 kernel_size: 1 } }
layer { name: "score" type: "Convolution" bottom: "wide" top: "score" convolution_param {
    num_output: 6 kernel_size: 3 pad: 1 engine: CAFFE } }
layer { name: "land_prob" type: "Softmax" bottom: "score" top: "land_prob" }
"""
    deploy = write_deploy(tmp_path / "deploy.prototxt", 33)
    deploy.write_text(deploy.read_text() + head)
    shapes = {"wide": [(32, 3, 1, 1), (32,)], "score": [(6, 32, 3, 3), (6,)]}
    blobs = {name: [np.zeros(shape, np.float32) for shape in each] for name, each in shapes.items()}
    write_caffemodel(tmp_path / "net.caffemodel", "net", blobs)
    assert CaffeNet(read_deploy(deploy), tmp_path / "net.caffemodel", "land", 65).classes == 6
    with pytest.raises(
        NetError, match=r"more than 2,147,483,647 values at --tile 2753 and --batch 1; give a s"
    ):
        CaffeNet(read_deploy(deploy), tmp_path / "net.caffemodel", "land", 2753)
