"""The public DenseNet-121 weights: by their layer names and shapes, the whole encoder loads."""

from pathlib import Path

import numpy as np
import pytest

from prototxt_gen.caffemodel import write_caffemodel
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, TRAIN, build
from training.weights import Coverage, load_weights, match_weights

pytestmark = pytest.mark.caffe
SOLVERS = Path(__file__).parents[2] / "solvers"


def densenet_121() -> dict[str, list[tuple[int, ...]]]:
    """Return the layers of the public model for Caffe, counted from its paper (growth 32, bottleneck 128)."""

    def norm(name: str, channels: int) -> dict:
        return {f"{name}/bn": [(channels,), (channels,), (1,)], f"{name}/scale": [(channels,), (channels,)]}

    layers = {"conv1": [(64, 3, 7, 7)], **norm("conv1", 64)}
    channels = 64
    for block, units in ((2, 6), (3, 12), (4, 24), (5, 16)):
        for unit in range(1, units + 1):
            name = f"conv{block}_{unit}"
            layers |= norm(f"{name}/x1", channels)
            layers[f"{name}/x1"] = [(128, channels, 1, 1)]
            layers |= norm(f"{name}/x2", 128)
            layers[f"{name}/x2"] = [(32, 128, 3, 3)]
            channels += 32
        layers |= norm(f"conv{block}_blk", channels)
        if block < 5:
            layers[f"conv{block}_blk"] = [(channels // 2, channels, 1, 1)]
            channels //= 2
    return layers | {"fc6": [(1000, 1024, 1, 1), (1000,)]}


@pytest.fixture(scope="module")
def public_weights(tmp_path_factory):
    rng = np.random.default_rng(0)
    weights = {
        name: [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        for name, shapes in densenet_121().items()
    }
    path = tmp_path_factory.mktemp("weights") / "densenet121.caffemodel"
    write_caffemodel(path, "DENSENET_121", weights)
    return path, weights


@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_the_whole_encoder_is_loaded_and_the_rest_is_left(public_weights, name):
    path, weights = public_weights
    net = build(read_experiment(SOLVERS / name / "experiment.toml"), TRAIN)
    found = match_weights(net.parameter_shapes(), path, Coverage.PARTIAL)
    assert set(found.loaded) == set(weights) - {"fc6"}
    assert (found.unused, found.differing) == (["fc6"], [])
    ours = {"conv5_blk", *(f"conv{block}_blk" for block in range(6, 9))}
    for layer in found.left:
        prefix = layer.split("/")[0].split("_")[0]
        assert layer.split("/")[0] in ours or prefix in (
            *(f"conv{block}" for block in range(6, 10)),
            *(f"fusion{block}" for block in range(2, 10)),
            "land",
            "road",
        )


def test_the_values_arrive_in_caffe(tmp_path, public_weights):
    from prototxt_gen.emit import net_text
    from training.pycaffe import import_caffe

    path, weights = public_weights
    exp = read_experiment(SOLVERS / "baseline" / "experiment.toml")
    (tmp_path / "deploy.prototxt").write_text(net_text(build(exp, DEPLOY, crop=33), ["x"]))
    caffe = import_caffe()
    net = caffe.Net(str(tmp_path / "deploy.prototxt"), caffe.TEST)
    load_weights(net, path, Coverage.PARTIAL)
    for name in ("conv1", "conv2_1/x1/bn", "conv4_24/x2", "conv5_blk/scale"):
        for blob, values in zip(net.params[name], weights[name], strict=True):
            np.testing.assert_array_equal(blob.data, values)


def test_baselines_weights_initialise_dfcnet(tmp_path):
    """All of baseline's layers, as "take the DenseNet model as initial model" (3.2) asks."""
    baseline = build(read_experiment(SOLVERS / "baseline" / "experiment.toml"), TRAIN).parameter_shapes()
    weights = {name: [np.zeros(shape, np.float32) for shape in shapes] for name, shapes in baseline.items()}
    write_caffemodel(tmp_path / "baseline.caffemodel", "baseline", weights)
    dfcnet = build(read_experiment(SOLVERS / "dfcnet" / "experiment.toml"), TRAIN).parameter_shapes()
    found = match_weights(dfcnet, tmp_path / "baseline.caffemodel", Coverage.PARTIAL)
    assert (found.unused, found.differing) == ([], [])
    assert set(found.loaded) == set(baseline)
