"""The paper's three nets: channels and sizes by hand, names of the public DenseNet-121, what joins what."""

from math import prod

import pytest

from common.errors import NetError
from prototxt_gen.models import DEPLOY, TRAIN, build
from tests.prototxt_gen.nets import PAPER, blobs, experiment, fields, layer, net

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


def test_the_baselines_parameters_are_a_part_of_dfcnets_with_equal_shapes():
    baseline, classmate, dfcnet = (net(name, DEPLOY).parameter_shapes() for name in PAPER)
    assert baseline.items() <= classmate.items()
    assert baseline.items() <= dfcnet.items()
    assert classmate.items() <= dfcnet.items()
