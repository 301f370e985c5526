"""The paper's blocks: their layers in order, their channels and sizes counted by hand."""

import numpy as np
import pytest

from prototxt_gen import blocks
from prototxt_gen.emit import net_text
from prototxt_gen.experiment import DenseNet, Fusion
from prototxt_gen.fuse import fuse
from prototxt_gen.fused_weights import plain_view
from prototxt_gen.layers import Blob, Net

ARCH = DenseNet(
    stem_channels=10,
    growth_rate=3,
    bottleneck=4,
    compression=0.5,
    encoder_units=(1, 1, 1, 1),
    decoder_units=(1, 1, 1, 1),
    up_channels=7,
)


@pytest.fixture
def net() -> Net:
    net = Net("tiny", "deploy")
    net.section("All")
    return net


def lines(net: Net) -> list[str]:
    """Return the layers as "Type name: bottoms > tops"."""
    return [
        f"{layer.type} {layer.name}: {' '.join(x.name for x in layer.bottoms)}"
        f" > {' '.join(x.name for x in layer.tops)}"
        for layer in net.layers
    ]


def test_the_stem_halves_the_crop(net):
    assert blocks.stem(net, net.input("data", (1, 3, 65, 65)), ARCH) == Blob("conv1", (1, 10, 33, 33))
    assert lines(net)[1:] == [
        "Convolution conv1: data > conv1",
        "BatchNorm conv1/bn: conv1 > conv1",
        "Scale conv1/scale: conv1 > conv1",
        "ReLU relu1: conv1 > conv1",
    ]
    assert net.parameter_shapes()["conv1"] == [(10, 3, 7, 7)]


def test_a_dense_block_hands_every_feature_to_every_later_unit(net):
    x = net.input("x", (1, 10, 9, 9))
    y = blocks.dense_block(net, 4, x, 2, ARCH)
    assert y == Blob("concat_4_2", (1, 10 + 2 * 3, 9, 9))
    assert lines(net)[1:] == [
        "BatchNorm conv4_1/x1/bn: x > conv4_1/x1/bn",
        "Scale conv4_1/x1/scale: conv4_1/x1/bn > conv4_1/x1/bn",
        "ReLU relu4_1/x1: conv4_1/x1/bn > conv4_1/x1/bn",
        "Convolution conv4_1/x1: conv4_1/x1/bn > conv4_1/x1",
        "BatchNorm conv4_1/x2/bn: conv4_1/x1 > conv4_1/x1",
        "Scale conv4_1/x2/scale: conv4_1/x1 > conv4_1/x1",
        "ReLU relu4_1/x2: conv4_1/x1 > conv4_1/x1",
        "Convolution conv4_1/x2: conv4_1/x1 > conv4_1/x2",
        "Concat concat_4_1: x conv4_1/x2 > concat_4_1",
        "BatchNorm conv4_2/x1/bn: concat_4_1 > conv4_2/x1/bn",
        "Scale conv4_2/x1/scale: conv4_2/x1/bn > conv4_2/x1/bn",
        "ReLU relu4_2/x1: conv4_2/x1/bn > conv4_2/x1/bn",
        "Convolution conv4_2/x1: conv4_2/x1/bn > conv4_2/x1",
        "BatchNorm conv4_2/x2/bn: conv4_2/x1 > conv4_2/x1",
        "Scale conv4_2/x2/scale: conv4_2/x1 > conv4_2/x1",
        "ReLU relu4_2/x2: conv4_2/x1 > conv4_2/x1",
        "Convolution conv4_2/x2: conv4_2/x1 > conv4_2/x2",
        "Concat concat_4_2: concat_4_1 conv4_2/x2 > concat_4_2",
    ]
    convolutions = {k: v for k, v in net.parameter_shapes().items() if len(v) == 1}
    assert convolutions == {
        "conv4_1/x1": [(12, 10, 1, 1)],
        "conv4_1/x2": [(3, 12, 3, 3)],
        "conv4_2/x1": [(12, 13, 1, 1)],
        "conv4_2/x2": [(3, 12, 3, 3)],
    }


def test_a_transition_down_halves_channels_and_resolution(net):
    y = blocks.transition_down(net, 2, net.input("x", (1, 11, 9, 9)), ARCH)
    assert y == Blob("pool2", (1, 5, 5, 5))  # half of 11 channels, rounded down
    assert lines(net)[1:] == [
        "BatchNorm conv2_blk/bn: x > conv2_blk/bn",
        "Scale conv2_blk/scale: conv2_blk/bn > conv2_blk/bn",
        "ReLU relu2_blk: conv2_blk/bn > conv2_blk/bn",
        "Convolution conv2_blk: conv2_blk/bn > conv2_blk",
        "Pooling pool2: conv2_blk > pool2",
    ]
    assert dict(net.layers[-1].fields)["pooling_param"][0] == ("pool", "AVE")


def test_a_transition_up_doubles_the_resolution_and_joins_the_skip(net):
    x, skip = net.input("x", (1, 20, 5, 5)), net.input("skip", (1, 4, 9, 9))
    y = blocks.transition_up(net, 6, x, skip, ARCH)
    assert y == Blob("concat_7", (1, 7 + 4, 9, 9))
    assert lines(net)[-3:] == [
        "Convolution conv6_blk: conv6_blk/bn > conv6_blk",
        "Interp up6: conv6_blk > up6",
        "Concat concat_7: up6 skip > concat_7",
    ]


SIZES = {2: 17, 3: 9, 4: 5, 5: 3, 6: 5, 7: 9, 8: 17, 9: 33}  # r_2 ... r_5 and back to r_1 of crop 65


def deepest_feature(net: Net) -> Blob:
    fusion = blocks.DenseFusion(net, Fusion(channels=6), ARCH)
    for block, size in SIZES.items():
        fusion.add(block, net.input(f"block{block}", (1, 2 + block, size, size)))
    return fusion.result()


def test_dense_fusion_adds_neighbours_without_overlap_then_pairs_of_pairs(net):
    assert deepest_feature(net) == Blob("fusion2_9", (1, 6, 33, 33))
    assert [line for line in lines(net) if line.startswith(("Eltwise", "Interp"))] == [
        "Interp fusion2_3/up: fusion3 > fusion2_3/up",
        "Eltwise fusion2_3: fusion2 fusion2_3/up > fusion2_3",
        "Interp fusion4_5/up: fusion5 > fusion4_5/up",
        "Eltwise fusion4_5: fusion4 fusion4_5/up > fusion4_5",
        "Interp fusion2_5/up: fusion4_5 > fusion2_5/up",
        "Eltwise fusion2_5: fusion2_3 fusion2_5/up > fusion2_5",
        "Interp fusion6_7/up: fusion6 > fusion6_7/up",
        "Eltwise fusion6_7: fusion6_7/up fusion7 > fusion6_7",
        "Interp fusion8_9/up: fusion8 > fusion8_9/up",
        "Eltwise fusion8_9: fusion8_9/up fusion9 > fusion8_9",
        "Interp fusion6_9/up: fusion6_7 > fusion6_9/up",
        "Eltwise fusion6_9: fusion6_9/up fusion8_9 > fusion6_9",
        "Interp fusion2_9/up: fusion2_5 > fusion2_9/up",
        "Eltwise fusion2_9: fusion2_9/up fusion6_9 > fusion2_9",
    ]


def test_dense_fusion_projects_every_block_to_the_same_channels(net):
    deepest_feature(net)
    assert [f"Convolution fusion{b}: fusion{b}/bn > fusion{b}" in lines(net) for b in SIZES] == [True] * 8
    for block in SIZES:
        assert net.parameter_shapes()[f"fusion{block}"] == [(6, 2 + block, 1, 1)]


def test_dense_fusion_sums_neighbours_as_soon_as_both_are_there(net):
    """Few maps wait for a later block: those of (2,3), then of (2-5), of (6,7) and of 8."""
    deepest_feature(net)
    order = lines(net)
    for total, block in (("fusion2_3", 4), ("fusion2_5", 6), ("fusion6_7", 8)):
        made = next(i for i, line in enumerate(order) if line.startswith(f"Eltwise {total}:"))
        assert made < order.index(f"Convolution fusion{block}: fusion{block}/bn > fusion{block}")


def test_classmates_are_joined_and_parted_on_the_batch_axis(net):
    land, road = net.input("land", (1, 3, 9, 9)), net.input("road", (2, 3, 9, 9))
    joint = blocks.classmate_concat(net, [land, road])
    assert joint == Blob("data", (3, 3, 9, 9))
    parts = blocks.classmate_slice(net, joint, ["land", "road"], [1, 2])
    assert parts == (Blob("land_feature", (1, 3, 9, 9)), Blob("road_feature", (2, 3, 9, 9)))
    assert dict(dict(net.layers[-2].fields)["concat_param"]) == {"axis": "0"}
    assert dict(dict(net.layers[-1].fields)["slice_param"]) == {"axis": "0", "slice_point": "1"}


def test_a_head_scores_every_pixel_of_the_crop(net):
    y = blocks.task_head(net, "land", net.input("x", (1, 5, 17, 17)), 6, 65, 8, ARCH)
    assert y == Blob("land_score", (1, 6, 65, 65))
    assert lines(net)[1:] == [
        "Convolution land/conv: x > land/conv",
        "BatchNorm land/conv/bn: land/conv > land/conv",
        "Scale land/conv/scale: land/conv > land/conv",
        "ReLU land/relu: land/conv > land/conv",
        "Convolution land/score: land/conv > land/score",
        "Interp land/up: land/score > land_score",
    ]
    assert net.parameter_shapes()["land/conv"] == [(8, 5, 3, 3)]
    assert net.parameter_shapes()["land/score"] == [(6, 8, 1, 1), (6,)]
    assert dict(net.layers[-1].fields)["interp_param"] == [("zoom_factor", "4")]


def bilinear(x: np.ndarray, size: int) -> np.ndarray:
    """Enlarge (C, n, n) to (C, size, size): corners on corners, straight lines between neighbours."""
    at = np.linspace(0, x.shape[-1] - 1, size)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(x.shape[-1])))  # a tent per neighbour
    return np.einsum("yi,xj,cij->cyx", weights, weights, x)


# The sizes through which a block's share reaches r_1 = 33, by the pairs of the paper's Figure 2.
STEPS = {2: [33], 3: [17, 33], 4: [17, 33], 5: [5, 17, 33], 6: [9, 33], 7: [33], 8: [33], 9: []}


@pytest.mark.caffe
@pytest.mark.parametrize("form", ["plain layers", "fused layers"])
@pytest.mark.parametrize("block", SIZES)
def test_in_caffe_a_blocks_share_of_the_fused_map_is_its_projection_enlarged(net, tmp_path, block, form):
    from training.pycaffe import import_caffe

    deepest_feature(net)
    if form == "fused layers":
        net = fuse(net)
    (tmp_path / "net.prototxt").write_text(net_text(net, ["fusion alone"]))
    caffe = import_caffe()
    caffe.set_mode_cpu()
    caffe_net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    rng = np.random.default_rng(block)
    learnt = plain_view({name: list(blobs) for name, blobs in caffe_net.params.items()})
    for number, size in SIZES.items():
        caffe_net.blobs[f"block{number}"].data[...] = rng.normal(size=(1, 2 + number, size, size))
        learnt[f"fusion{number}/bn"][1].data[...] = 1
        learnt[f"fusion{number}/bn"][2].data[...] = 1
        if number != block:
            learnt[f"fusion{number}"][0].data[...] = 0
    (fused,) = (values[0] for values in caffe_net.forward().values())
    kernel = learnt[f"fusion{block}"][0].data[:, :, 0, 0]
    given = np.maximum(caffe_net.blobs[f"block{block}"].data[0], 0) / np.sqrt(1 + 1e-5)
    expected = np.einsum("oc,chw->ohw", kernel, given)
    for size in STEPS[block]:
        expected = bilinear(expected, size)
    assert fused.shape == expected.shape == (6, 33, 33)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(fused, expected, atol=1e-5)
