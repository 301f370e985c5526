"""The three nets: channels and sizes by hand, names of the public DenseNet-121, shapes as Caffe's own."""

from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path

import lmdb
import numpy as np
import pytest

from prototxt_gen.emit import net_text
from prototxt_gen.errors import NetError
from prototxt_gen.experiment import Experiment, read_experiment
from prototxt_gen.layers import Net
from prototxt_gen.models import DEPLOY, TRAIN, build

SOLVERS = Path(__file__).parents[2] / "solvers"
NAMES = sorted(path.stem for path in SOLVERS.glob("*.toml"))
PAPER = ["baseline", "classmate", "dfcnet"]


@cache
def experiment(name: str) -> Experiment:
    return read_experiment(SOLVERS / f"{name}.toml")


@cache
def net(name: str, phase: str) -> Net:
    return build(experiment(name), phase)


def blobs(net: Net) -> dict[str, tuple[int, ...]]:
    """Return every blob's shape; blobs that are changed in place keep theirs."""
    shapes = {}
    for layer in net.layers:
        for top in layer.tops:
            assert shapes.setdefault(top.name, top.shape) == top.shape
    return shapes


def layer(net: Net, name: str):
    return next(layer for layer in net.layers if layer.name == name)


def fields(net: Net, name: str) -> dict:
    return {key: dict(value) for key, value in layer(net, name).fields if not isinstance(value, str)}


def with_crop(exp: Experiment, crop: int) -> Experiment:
    """Return the experiment at another crop, its data where the fixture `tiny` has them."""
    tasks = {
        name: task.model_copy(update={"source": f"{name}_lmdb", "loss_weight": 2.0})
        for name, task in exp.tasks.items()
    }
    return exp.model_copy(update={"input": exp.input.model_copy(update={"crop": crop}), "tasks": tasks})


# Channels and sizes at crop 1025: growth 32, so a block of n units adds 32 n channels.
BLOCKS = {
    "concat_2_6": (64 + 6 * 32, 257),  # 256
    "concat_3_12": (128 + 12 * 32, 129),  # 512
    "concat_4_24": (256 + 24 * 32, 65),  # 1024
    "concat_5_16": (512 + 16 * 32, 33),  # 1024
    "concat_6_24": (256 + 1024 + 24 * 32, 65),  # 2048
    "concat_7_12": (256 + 512 + 12 * 32, 129),  # 1152
    "concat_8_6": (256 + 256 + 6 * 32, 257),  # 704
}
TRANSITIONS = {
    "conv1": (64, 513),
    "pool1": (64, 257),
    "conv2_blk": (128, 257),
    "pool2": (128, 129),
    "conv3_blk": (256, 129),
    "pool3": (256, 65),
    "conv4_blk": (512, 65),
    "pool4": (512, 33),
    "conv5_blk": (256, 33),
    "up5": (256, 65),
    "concat_6": (1280, 65),
    "up6": (256, 129),
    "concat_7": (768, 129),
    "up7": (256, 257),
    "concat_8": (512, 257),
    "conv8_blk": (256, 257),
}
OF_DFCNET = {
    "up8": (256, 513),
    "concat_9": (256 + 64, 513),
    "concat_9_4": (256 + 64 + 4 * 32, 513),  # 448
    "fusion2_3": (256, 257),
    "fusion4_5": (256, 65),
    "fusion6_7": (256, 129),
    "fusion8_9": (256, 513),
    "fusion2_5": (256, 257),
    "fusion6_9": (256, 513),
    "fusion2_9": (256, 513),
}


@pytest.mark.parametrize("name", PAPER)
def test_blocks_and_transitions_have_the_channels_and_sizes_counted_by_hand(name):
    expected = BLOCKS | TRANSITIONS | (OF_DFCNET if name == "dfcnet" else {})
    shapes = blobs(net(name, DEPLOY))
    assert {blob: shapes[blob] for blob in expected} == {
        blob: (1, channels, size, size) for blob, (channels, size) in expected.items()
    }


@pytest.mark.parametrize("name", ["baseline", "classmate"])
def test_baseline_and_classmate_end_with_block_8_and_fuse_nothing(name):
    for phase in (TRAIN, DEPLOY):
        names = {layer.name for layer in net(name, phase).layers}
        assert not [layer for layer in names if layer.startswith(("conv9", "fusion", "up8"))]


def densenet_121() -> dict[str, list[tuple[int, ...]]]:
    """Return the layers of the public DenseNet-121 for Caffe, without its classifier."""

    def norm(name: str, channels: int) -> dict:
        return {f"{name}/bn": [(channels,), (channels,), (1,)], f"{name}/scale": [(channels,), (channels,)]}

    layers = {"conv1": [(64, 3, 7, 7)], **norm("conv1", 64)}
    channels = 64
    for block, units in ((2, 6), (3, 12), (4, 24), (5, 16)):
        for unit in range(1, units + 1):
            layers |= norm(f"conv{block}_{unit}/x1", channels)
            layers[f"conv{block}_{unit}/x1"] = [(128, channels, 1, 1)]
            layers |= norm(f"conv{block}_{unit}/x2", 128)
            layers[f"conv{block}_{unit}/x2"] = [(32, 128, 3, 3)]
            channels += 32
        layers |= norm(f"conv{block}_blk", channels)
        if block < 5:
            layers[f"conv{block}_blk"] = [(channels // 2, channels, 1, 1)]
            channels //= 2
    return layers


def test_the_expected_encoder_has_the_published_number_of_weights():
    learnt = {name: shapes for name, shapes in densenet_121().items() if not name.endswith("/bn")}
    assert sum(prod(shape) for shapes in learnt.values() for shape in shapes) == 6_953_856


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
def test_the_encoder_is_the_public_densenet_121_by_name_and_shape(name, phase):
    shapes = net(name, phase).parameter_shapes()
    ours = {"conv5_blk"}  # the 1x1 convolution of the first transition up
    encoder = {k: v for k, v in shapes.items() if k.startswith(tuple(f"conv{b}" for b in range(1, 6)))}
    assert list(encoder.items())[: len(encoder) - 1] == list(densenet_121().items())
    assert set(encoder) - set(densenet_121()) == ours
    convolutions = [k for k, v in encoder.items() if len(v[0]) == 4 and k not in ours]
    assert len(convolutions) == 120  # DenseNet-121 less its classifier


@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
def test_the_fused_pairs_are_neighbours_without_overlap(phase):
    sums = [layer.name for layer in net("dfcnet", phase).layers if layer.type == "Eltwise"]
    assert sums == [
        *["fusion2_3", "fusion4_5", "fusion2_5"],
        *["fusion6_7", "fusion8_9", "fusion6_9"],
        "fusion2_9",
    ]
    assert layer(net("dfcnet", phase), "fusion2_9").tops[0].shape[1:] == (256, 513, 513)


BLOCK_OUTPUTS = {2: "concat_2_6", 3: "concat_3_12", 4: "concat_4_24", 5: "concat_5_16", 6: "concat_6_24"}
BLOCK_OUTPUTS |= {7: "concat_7_12", 8: "concat_8_6", 9: "concat_9_4"}


def test_dense_fusion_takes_the_outputs_of_all_eight_blocks():
    found = {b: layer(net("dfcnet", DEPLOY), f"fusion{b}/bn").bottoms[0].name for b in range(2, 10)}
    assert found == BLOCK_OUTPUTS


@pytest.mark.parametrize(
    ("concat", "skip"),
    [
        ("concat_6", "concat_4_24"),
        ("concat_7", "concat_3_12"),
        ("concat_8", "concat_2_6"),
        ("concat_9", "conv1"),
    ],
)
def test_the_decoder_joins_the_skip_of_its_resolution(concat, skip):
    assert [x.name for x in layer(net("dfcnet", DEPLOY), concat).bottoms][1] == skip


@pytest.mark.parametrize(("name", "deepest"), [("classmate", "conv8_blk"), ("dfcnet", "fusion2_9")])
def test_classmates_share_the_trunk_from_conv1_to_the_deepest_feature(name, deepest):
    train = net(name, TRAIN)
    order = [layer.name for layer in train.layers]
    assert [x.name for x in layer(train, "classmate_concat").bottoms] == ["land_image", "road_image"]
    assert fields(train, "classmate_concat")["concat_param"] == {"axis": "0"}
    assert order[order.index("classmate_concat") :][:3] == ["classmate_concat", "data/scale", "conv1"]
    assert [x.name for x in layer(train, "classmate_slice").bottoms] == [deepest]
    assert [x.name for x in layer(train, "classmate_slice").tops] == ["land_feature", "road_feature"]
    assert fields(train, "classmate_slice")["slice_param"] == {"axis": "0", "slice_point": "1"}
    trunk = train.layers[order.index("conv1") : order.index("classmate_slice")]
    assert {layer.bottoms[0].shape[0] for layer in trunk} == {2}  # one land image, one road image
    for task in ("land", "road"):
        assert [x.name for x in layer(train, f"{task}/conv").bottoms] == [f"{task}_feature"]


def test_the_baseline_joins_and_parts_nothing_on_the_batch_axis():
    axes = [
        dict(value)["axis"]
        for layer in net("baseline", TRAIN).layers
        for key, value in layer.fields
        if key in ("concat_param", "slice_param")
    ]
    assert axes == ["1"]  # image and label


@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
@pytest.mark.parametrize(
    ("name", "side", "zoom"), [("baseline", 257, "4"), ("classmate", 257, "4"), ("dfcnet", 513, "2")]
)
def test_scores_are_predicted_below_the_crop_and_enlarged_to_it(name, phase, side, zoom):
    shapes = blobs(net(name, phase))
    for task, settings in experiment(name).tasks.items():
        assert shapes[f"{task}/score"] == (1, settings.classes, side, side)
        assert shapes[f"{task}_score"] == (1, settings.classes, 1025, 1025)
        assert fields(net(name, phase), f"{task}/up")["interp_param"] == {"zoom_factor": zoom}


@pytest.mark.parametrize("name", PAPER)
def test_every_task_has_a_loss_in_training_and_probabilities_in_deployment(name):
    tasks = list(experiment(name).tasks)
    train, deploy = net(name, TRAIN), net(name, DEPLOY)
    losses = [layer for layer in train.layers if layer.type == "SoftmaxWithLoss"]
    assert [[x.name for x in layer.bottoms] for layer in losses] == [
        [f"{t}_score", f"{t}_label"] for t in tasks
    ]
    assert [layer.tops[0].name for layer in losses] == [f"{task}_loss" for task in tasks]
    assert [layer.tops[0].name for layer in deploy.layers if layer.type == "Softmax"] == [
        f"{task}_prob" for task in tasks
    ]
    assert [layer.name for layer in deploy.layers if layer.type == "Input"] == ["data"]
    assert not [layer for layer in deploy.layers if layer.type in ("Data", "Slice", "Power")]


@pytest.mark.parametrize("name", ["classmate", "dfcnet"])
@pytest.mark.parametrize(("task", "other"), [("land", "road"), ("road", "land")])
def test_a_deploy_net_of_one_task_has_only_that_head(name, task, other):
    one, both = build(experiment(name), DEPLOY, [task]), net(name, DEPLOY)
    expected = [layer for layer in both.layers if not layer.name.startswith((f"{other}/", f"{other}_"))]
    assert one.layers == expected
    assert one.layers[-1].name == f"{task}_prob"
    assert len(expected) == len(both.layers) - 7  # 3x3, BatchNorm, Scale, ReLU, 1x1, Interp, Softmax


@pytest.mark.parametrize("crop", [33, 65, 513])
def test_a_deploy_net_can_be_emitted_for_another_crop(crop):
    shapes = blobs(build(experiment("dfcnet"), DEPLOY, crop=crop))
    assert shapes["land_prob"] == (1, 6, crop, crop)
    assert shapes["fusion2_9"] == (1, 256, (crop + 1) // 2, (crop + 1) // 2)


@pytest.mark.parametrize("crop", [0, 1, 32, 34, 64, 66, 1024])
def test_a_deploy_net_of_another_side_than_32k_plus_1_is_refused(crop):
    with pytest.raises(NetError, match=f"side {crop} is not 32k"):
        build(experiment("dfcnet"), DEPLOY, crop=crop)


@pytest.mark.parametrize("name", NAMES)
def test_train_and_deploy_have_the_same_parameters(name):
    assert net(name, TRAIN).parameter_shapes() == net(name, DEPLOY).parameter_shapes()


def test_the_baselines_parameters_are_a_part_of_dfcnets_with_equal_shapes():
    baseline, classmate, dfcnet = (net(name, DEPLOY).parameter_shapes() for name in PAPER)
    assert baseline.items() <= classmate.items()
    assert baseline.items() <= dfcnet.items()
    assert classmate.items() <= dfcnet.items()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
def test_layer_names_are_unique_and_every_section_has_layers(name, phase):
    names = [layer.name for layer in net(name, phase).layers]
    assert len(set(names)) == len(names)
    assert all(section.layers for section in net(name, phase).sections)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
def test_no_blob_is_changed_in_place_once_somebody_else_has_read_it(name, phase):
    """Caffe would hand the changed values to the reader's backward pass."""
    read: set[str] = set()
    made: set[str] = set()
    for layer in net(name, phase).layers:
        bottoms, tops = ({x.name for x in xs} for xs in (layer.bottoms, layer.tops))
        assert bottoms <= made, f"{layer.name} reads what nobody has made"
        assert not (tops - bottoms) & made, f"{layer.name} makes a blob again"
        assert not tops & bottoms & read, f"{layer.name} changes what was read before"
        read |= bottoms - tops
        made |= tops


@pytest.mark.parametrize("name", NAMES)
def test_every_blob_is_read_or_an_output(name):
    for phase, ends in ((TRAIN, "_loss"), (DEPLOY, "_prob")):
        layers = net(name, phase).layers
        unread = {x.name for layer in layers for x in layer.tops} - {
            x.name for la in layers for x in la.bottoms
        }
        assert unread == {f"{task}{ends}" for task in experiment(name).tasks}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dfcnet_demo"])  # that one is fused
def test_statistics_of_batch_norm_are_neither_learnt_nor_decayed(name):
    norms = [layer for layer in net(name, TRAIN).layers if layer.type == "BatchNorm"]
    assert norms
    for norm in norms:
        params = [dict(value) for key, value in norm.fields if key == "param"]
        assert params == [{"lr_mult": "0", "decay_mult": "0"}] * 3


def test_a_batch_norm_is_followed_by_a_scale_of_its_own():
    layers = net("dfcnet", TRAIN).layers
    for norm, scale in pairwise(layers):
        if norm.type == "BatchNorm":
            assert scale.name == norm.name.removesuffix("/bn") + "/scale"
            assert scale.bottoms == scale.tops == norm.tops


def test_frozen_batch_norm_is_frozen_throughout():
    exp = experiment("dfcnet")
    frozen = exp.model_copy(update={"densenet": exp.densenet.model_copy(update={"bn_frozen": True})})
    for layer in build(frozen, TRAIN).layers:
        if layer.type == "BatchNorm":
            assert dict(dict(layer.fields)["batch_norm_param"])["use_global_stats"] == "true"


def test_a_compression_that_leaves_no_channel_names_the_layer():
    exp = experiment("dfcnet_demo")
    arch = exp.densenet.model_copy(update={"compression": 0.001})
    with pytest.raises(NetError, match="conv2_blk: would have 0 channels; raise compression"):
        build(exp.model_copy(update={"densenet": arch}), DEPLOY)


# ---- Against Caffe itself


def in_caffe(net: Net, folder: Path, plain: bool = True, testing: bool = False):
    """Return Caffe's net.

    `plain` leaves the random fillers out, which take most of the time; `testing` is for a train net:
    stored statistics and centre crops. Caffe would still mirror at random then.
    """
    from google.protobuf import text_format

    from prototxt_gen.caffe_proto import caffe_pb2
    from solvers.pycaffe import import_caffe

    caffe = import_caffe()
    caffe.set_mode_cpu()
    parsed = text_format.Parse(net_text(net, ["test"]), caffe_pb2().NetParameter())
    for layer in parsed.layer:
        if layer.type == "Convolution" and plain:
            layer.convolution_param.ClearField("weight_filler")
        if layer.type == "Data" and testing:
            layer.transform_param.mirror = False
    path = folder / f"{net.name}_{net.phase}.prototxt"
    path.write_text(text_format.MessageToString(parsed))
    return caffe.Net(str(path), caffe.TRAIN if net.phase == TRAIN and not testing else caffe.TEST)


def assert_shapes_are_caffes(net: Net, caffe_net) -> None:
    # Caffe copies a blob for each of its readers, under names with _split_.
    found = {name: tuple(x.data.shape) for name, x in caffe_net.blobs.items() if "_split_" not in name}
    assert found == blobs(net)
    params = {name: [tuple(x.data.shape) for x in xs] for name, xs in caffe_net.params.items()}
    assert params == net.parameter_shapes()


@pytest.mark.caffe
@pytest.mark.parametrize("name", NAMES)
def test_a_deploy_nets_shapes_are_caffes_own_built_or_reshaped(name, tmp_path):
    small, large = (build(experiment(name), DEPLOY, crop=crop) for crop in (65, 97))
    caffe_net = in_caffe(small, tmp_path)
    assert_shapes_are_caffes(small, caffe_net)
    caffe_net.blobs["data"].reshape(1, 3, 97, 97)
    caffe_net.reshape()
    assert_shapes_are_caffes(large, caffe_net)


@pytest.mark.caffe
@pytest.mark.parametrize("name", NAMES)
def test_a_train_nets_shapes_are_caffes_own(name, tiny):
    train = build(with_crop(experiment(name), 33), TRAIN)
    caffe_net = in_caffe(train, tiny.parent)
    assert_shapes_are_caffes(train, caffe_net)
    weights = {blob: caffe_net.blob_loss_weights[blob] for blob in caffe_net.blob_loss_weights}
    losses = {f"{task}_loss": 2.0 for task in experiment(name).tasks}
    assert {blob: weight for blob, weight in weights.items() if weight} == losses


@pytest.mark.caffe
def test_a_tiny_training_net_gives_finite_losses_and_gradients_to_every_weight(tiny):
    exp = read_experiment(tiny)
    caffe_net = in_caffe(build(exp, TRAIN), tiny.parent, plain=False)
    losses = caffe_net.forward()
    assert set(losses) == {"land_loss", "road_loss"}
    assert all(np.isfinite(loss).all() and loss > 0.1 for loss in losses.values())
    caffe_net.backward()
    for name, params in caffe_net.params.items():
        if not name.endswith("/bn"):
            assert all(np.isfinite(p.diff).all() for p in params), name
            assert any(p.diff.any() for p in params), name


def settle(caffe_net) -> None:
    """Give BatchNorm the statistics of a net that has been trained: no net starts with any."""
    rng = np.random.default_rng(0)
    for name, params in caffe_net.params.items():
        if name.endswith("/bn"):
            params[0].data[...] = rng.normal(0, 0.1, params[0].data.shape)
            params[1].data[...] = rng.uniform(0.5, 2, params[1].data.shape)
            params[2].data[...] = 1


def records(path: Path) -> list[np.ndarray]:
    from prototxt_gen.caffe_proto import caffe_pb2

    with lmdb.open(str(path), readonly=True) as environment, environment.begin() as reading:
        datums = [caffe_pb2().Datum.FromString(value) for _, value in reading.cursor()]
    return [np.frombuffer(d.data, np.uint8).reshape(d.channels, d.height, d.width) for d in datums]


def invert_images(path: Path) -> None:
    from prototxt_gen.caffe_proto import caffe_pb2

    inverted = [np.concatenate([255 - record[:3], record[3:]]) for record in records(path)]
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as writing:
        for number, record in enumerate(inverted):
            datum = caffe_pb2().Datum(channels=4, height=37, width=37, data=record.tobytes())
            writing.put(f"{number:08d}".encode(), datum.SerializeToString())


@pytest.mark.caffe
@pytest.mark.parametrize("model", ["classmate", "dfcnet"])
def test_in_a_joint_batch_neither_tasks_output_depends_on_the_images_beside_it(model, tiny):
    text = tiny.read_text()
    if model == "classmate":
        text = text.replace('"dfcnet"', '"classmate"').replace("fusion_channels = 4", "")
        text = text.replace("decoder_units = [1, 1, 1, 1]", "decoder_units = [1, 1, 1]")
    tiny.write_text(text)
    exp, folder = read_experiment(tiny), tiny.parent
    train, deploy = build(exp, TRAIN), build(exp, DEPLOY)
    alone = in_caffe(deploy, folder, plain=False)
    settle(alone)
    alone.save(str(folder / "weights"))

    def outputs() -> dict[str, np.ndarray]:
        joint = in_caffe(train, folder, testing=True)
        joint.copy_from(str(folder / "weights"))
        joint.forward()
        return {task: joint.blobs[f"{task}_score"].data.copy() for task in exp.tasks}

    before = outputs()
    invert_images(folder / "road_lmdb")
    after = outputs()
    assert (before["land"] == after["land"]).all()
    assert np.abs(before["road"] - after["road"]).max() > 1e-3
    # And each is what the deploy net answers to the centre of that image alone.
    for task in exp.tasks:
        image = records(folder / f"{task}_lmdb")[1][:3, 2:35, 2:35].astype(np.float32)
        alone.blobs["data"].data[...] = (image - np.float32(exp.input.mean)[:, None, None]) * exp.input.scale
        alone.forward()
        np.testing.assert_allclose(alone.blobs[f"{task}_score"].data[0], after[task][1], rtol=1e-4, atol=1e-4)
