"""Other backends answer as Caffe does, and refuse what it refuses."""

import numpy as np
import pytest

from common.errors import DFCNetError, NetError, WeightsError
from inference.backends import ONNXRUNTIME, OPENVINO, open_nets
from inference.caffe_net import CaffeNet
from inference.deploy import read_deploy
from inference.onnx_net import exported
from inference.predictor import NormalizedNet, Predictor
from prototxt_gen.caffemodel import write_caffemodel
from prototxt_gen.experiment import read_experiment
from tests.inference.pixel_net import by_hand, make_pixel_net, write_deploy
from tests.inference.whole_maps import probabilities
from tests.prototxt_gen.random_net import write_random_net

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytestmark = pytest.mark.caffe


def open_net(backend, deploy, weights, *options):
    return open_nets(backend, deploy, [weights], *options)[0]


@pytest.fixture(params=(ONNXRUNTIME, OPENVINO))
def backend(request) -> str:
    pytest.importorskip(request.param, reason="an extra of pyproject.toml that is not installed")
    return request.param


@pytest.fixture
def pixel_net(tmp_path):
    return make_pixel_net(tmp_path)


@pytest.fixture
def small_dfcnet(tiny, tmp_path):
    deploy, weights = write_random_net(tmp_path, read_experiment(tiny))
    return read_deploy(deploy), weights


@pytest.mark.parametrize("side, count", [(None, 1), (65, 3)])
def test_probabilities_equal_numpys(pixel_net, backend, side, count):
    deploy, weights, parameters = pixel_net
    net = open_net(backend, read_deploy(deploy), weights, "land", side)
    assert (net.side, net.classes) == (side or 33, 6)
    tiles = np.random.default_rng(0).normal(size=(count, 3, net.side, net.side)).astype(np.float32)
    for part in (tiles, tiles[:1], tiles):  # the batch may change from call to call
        expected = by_hand(part.transpose(0, 2, 3, 1), parameters["land_score"], 0, 1.0)
        np.testing.assert_allclose(net(part), expected.transpose(0, 3, 1, 2), atol=1e-6)


@pytest.mark.parametrize("task", ["land", "road"])
def test_maps_of_a_scene_are_caffes(small_dfcnet, backend, task):
    deploy, weights = small_dfcnet
    scene = np.random.default_rng(1).integers(0, 256, (150, 97, 3), np.uint8)
    nets = [CaffeNet(deploy, weights, task, 65), open_net(backend, deploy, weights, task, 65)]
    expected, got = (
        probabilities(Predictor([NormalizedNet(net, (104, 117, 124), 0.017)]), scene) for net in nets
    )
    assert np.abs(got - expected).max() < 1e-4
    assert len(np.unique(expected.argmax(0))) > 1
    ordered = np.sort(expected, axis=0)
    decided = ordered[-1] - ordered[-2] > 2e-4  # elsewhere rounding may choose
    assert decided.mean() > 0.99
    np.testing.assert_array_equal(got.argmax(0)[decided], expected.argmax(0)[decided])


def test_what_does_not_fit_is_refused_as_by_caffe(tmp_path, pixel_net, backend):
    deploy, weights, _ = pixel_net
    with pytest.raises(NetError, match="has no output sea_prob"):
        open_net(backend, read_deploy(deploy), weights, "sea")
    with pytest.raises(NetError, match="side 64 is not"):
        open_net(backend, read_deploy(deploy), weights, "land", 64)
    other = write_deploy(tmp_path / "other.prototxt", 33, land=5)
    with pytest.raises(WeightsError, match=r"net\.caffemodel: layer land_score"):
        open_net(backend, read_deploy(other), weights, "land")
    with pytest.raises(WeightsError, match=r"none\.caffemodel: cannot be read"):
        open_net(backend, read_deploy(deploy), tmp_path / "none.caffemodel", "land")
    halving = tmp_path / "halving.prototxt"
    halving.write_text(deploy.read_text().replace("kernel_size: 1", "kernel_size: 1 stride: 2"))
    net = open_net(backend, read_deploy(halving), weights, "land")
    with pytest.raises(NetError, match=r"land_prob \(1, 6, 17, 17\) to a tile of 33"):
        net(np.zeros((1, 3, 33, 33), np.float32))


def test_a_process_exports_the_same_files_once_and_new_ones_again(pixel_net):
    deploy, weights, parameters = pixel_net
    first, channels = exported(read_deploy(deploy), weights, "land_prob")
    assert channels == 6
    assert exported(read_deploy(deploy), weights, "land_prob")[0] is first
    changed = {name: [2 * blob for blob in blobs] for name, blobs in parameters.items()}
    write_caffemodel(weights, "net", changed, overwrite=True)
    assert exported(read_deploy(deploy), weights, "land_prob")[0] != first


def test_an_engine_that_is_not_installed_is_named_with_the_command(pixel_net, monkeypatch):
    from common import optional

    deploy, weights, _ = pixel_net
    exported(read_deploy(deploy), weights, "land_prob")

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    with pytest.raises(DFCNetError, match=r"openvino: is not installed; run .*requirements/openvino\.txt"):
        open_net("openvino", read_deploy(deploy), weights, "land")
