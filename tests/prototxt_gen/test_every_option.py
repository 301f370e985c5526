"""Whatever an experiment says of its net, the net can be drawn, counted, fused, folded and exported."""

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from prototxt_gen.caffemodel import Weights, write_caffemodel
from prototxt_gen.cost import layer_costs
from prototxt_gen.diagram import IMAGE, OUTPUT, read_diagram
from prototxt_gen.draw import figure
from prototxt_gen.emit import net_message
from prototxt_gen.experiment import DenseNet, Experiment, Fusion, Input, Multiplier, Task, read_experiment
from prototxt_gen.fold import fold
from prototxt_gen.fuse import fuse
from prototxt_gen.fused_weights import fuse_weights, plain_view
from prototxt_gen.layers import Net
from prototxt_gen.models import DEPLOY, TRAIN, build
from prototxt_gen.onnx_export import to_onnx
from prototxt_gen.prototxt import net_outputs
from prototxt_gen.summary import summary
from prototxt_gen.unfuse import unfuse
from tests.conftest import TINY
from tests.prototxt_gen.random_net import random_weights
from training.pycaffe import import_caffe

pytestmark = pytest.mark.caffe
# Each with what it sets, as "table.key" of the models of an experiment.
OPTIONS = {
    "nothing": [],
    "input.crop": ["input.crop=65"],
    "input.bands": ["input.bands=['red', 'blue']", "input.mean=[1, 2]"],
    "input.mean": ["input.mean=[1, 2.5, 3]"],
    "input.scale": ["input.scale=1"],
    "input.mirror": ["input.mirror=false"],
    "densenet.stem_channels": ["densenet.stem_channels=5"],
    "densenet.growth_rate": ["densenet.growth_rate=3"],
    "densenet.bottleneck": ["densenet.bottleneck=1"],
    "densenet.compression": ["densenet.compression=1"],
    "densenet.encoder_units": ["densenet.encoder_units=[2, 1, 3, 1]"],
    "densenet.decoder_units": ["densenet.decoder_units=[3, 1, 2, 2]"],
    "densenet.up_channels": ["densenet.up_channels=3"],
    "densenet.bn_moving_average": ["densenet.bn_moving_average=0.5"],
    "densenet.bn_frozen": ["densenet.bn_frozen=true"],
    "densenet.dense_block": ["densenet.dense_block='fused'"],
    "densenet.keep_bottlenecks": ["densenet.dense_block='fused'", "densenet.keep_bottlenecks=true"],
    "fusion.channels": ["fusion.channels=6"],
    "head_channels": ["head_channels=3"],
    "tasks.dataset": ["tasks.road.dataset='deepglobe_land'"],
    "tasks.loss_weight": ["tasks.road.loss_weight=0.5"],
    "tasks.class_weights": ["tasks.land.class_weights=[1, 2, 3, 4, 5, 6]", "tasks.road.class_weights=[1, 2]"],
    "multipliers": ["multipliers=[{layers='conv2_*/x2', lr=0.1, decay=0.5}, {layers='land/conv*', lr=0}]"],
    "solver.images_per_pass": ["solver.images_per_pass=1"],
    "three tasks": ["tasks.sea={dataset='deepglobe_road', source='s'}", "solver.batch_size=6"],
}
OTHER_NETS = {
    "no fusion": "[fusion]\nchannels = 4\n",
    "one task": '[tasks.road]\ndataset = "deepglobe_road"\nsource = "road_lmdb"\n',
}


@pytest.fixture(params=[*OPTIONS, *OTHER_NETS])
def exp(request, tmp_path) -> Experiment:
    text = TINY.replace(OTHER_NETS.get(request.param, ""), "", 1)
    (tmp_path / "tiny.toml").write_text(text)
    return read_experiment(tmp_path / "tiny.toml", OPTIONS.get(request.param, []))


def test_the_list_holds_every_option_that_changes_a_net():
    tables = {"input": Input, "densenet": DenseNet, "fusion": Fusion, "tasks": Task}
    keys = {f"{table}.{key}" for table, model in tables.items() for key in model.model_fields}
    keys |= {key for key in Experiment.model_fields if key not in (*tables, "name", "solver")}
    assert keys - {"tasks.source", "tasks.validation", "tasks.resize"} <= set(OPTIONS)
    assert {"layers", "lr", "decay"} == set(Multiplier.model_fields)


@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
def test_the_picture_has_every_task(exp, phase):
    net = build(exp, phase)
    found = read_diagram(net)
    outputs = [(node.name, node.channels, node.size) for node in found.of_kind(OUTPUT)]
    assert outputs == [(name, task.classes, exp.input.crop) for name, task in exp.tasks.items()]
    assert len(found.of_kind(IMAGE)) == (len(exp.tasks) if phase == TRAIN else 1)
    words = {text.get_text() for text in figure(net).axes[0].texts}
    assert words >= {f"{name}\n{task.classes} classes" for name, task in exp.tasks.items()}


def test_every_layer_has_a_cost_and_the_summary_has_every_parameter(exp):
    train, deploy = build(exp, TRAIN), build(exp, DEPLOY)
    for net in (train, deploy):
        assert list(layer_costs(net)) == [layer.name for layer in net.layers]
    total = summary(train, deploy).splitlines()[-1].split()
    assert total[:2] == ["total", f"{train.parameters():,}"]
    assert all(float(number) > 0 for number in total[3:])  # MiB of training and deployment


@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
def test_the_fused_net_is_the_plain_one_with_the_same_parameters(exp, phase):
    plain = build(exp, phase).plain
    fused = fuse(plain)
    assert plain_view(fused.parameter_shapes()) == plain.parameter_shapes()
    weights = {name: list(map(np.zeros, shapes)) for name, shapes in plain.parameter_shapes().items()}
    converted = {name: [blob.shape for blob in blobs] for name, blobs in fuse_weights(weights).items()}
    assert converted == fused.parameter_shapes()
    again = unfuse(net_message(fused))
    learnt = [(layer.name, layer.type) for layer in again.layer if layer.name in plain.parameter_shapes()]
    assert learnt == [(layer.name, layer.type) for layer in plain.layers if layer.params]
    assert net_outputs(again) == net_outputs(net_message(plain))


def answers(net: Net, weights: Weights, image: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    """What Caffe computes of a deploy net."""
    path.write_text(text_format.MessageToString(net_message(net)))
    write_caffemodel(path.with_suffix(".caffemodel"), net.name, weights)
    opened = import_caffe().Net(str(path), str(path.with_suffix(".caffemodel")), 1)
    opened.blobs["data"].data[...] = image
    return {name: blob.copy() for name, blob in opened.forward().items()}


def test_the_fused_net_computes_what_the_plain_one_computes(exp, tmp_path):
    plain = build(exp, DEPLOY).plain
    weights = random_weights(plain)
    image = np.random.default_rng(5).normal(size=plain.layers[0].tops[0].shape).astype(np.float32)
    expected = answers(plain, weights, image, tmp_path / "plain.prototxt")
    computed = answers(fuse(plain), fuse_weights(weights), image, tmp_path / "fused.prototxt")
    assert computed.keys() == expected.keys()
    for name, probabilities in expected.items():
        assert probabilities.std() > 1e-3
        assert np.abs(computed[name] - probabilities).max() < 1e-5


def test_the_folded_net_and_the_onnx_model_give_the_same_outputs(exp):
    net = build(exp, DEPLOY)
    weights = random_weights(net.plain)
    given = weights if net is net.plain else fuse_weights(weights)
    folded, values = fold(net_message(net), given, "w")
    assert not {layer.type for layer in folded.layer} & {
        "BatchNorm",
        "DenseBlock",
        "BNReLU",
        "BNReLUConvolution",
    }
    outputs = tuple(f"{task}_prob" for task in exp.tasks)
    assert net_outputs(folded) == outputs
    for form in ((net_message(net), given), (folded, values)):
        model = to_onnx(*form, "w")
        assert tuple(output.name for output in model.graph.output) == outputs
        shape = model.graph.input[0].type.tensor_type.shape
        assert shape.dim[1].dim_value == len(exp.input.bands)
