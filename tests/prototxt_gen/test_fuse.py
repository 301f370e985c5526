"""Nets of fused layers are the plain nets: same parameters under the same names, same picture, same sums."""

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest

from common.errors import NetError
from prototxt_gen import blocks
from prototxt_gen.cost import layer_costs, shared_scratch
from prototxt_gen.diagram import read_diagram
from prototxt_gen.draw import draw
from prototxt_gen.experiment import Fusion, read_experiment
from prototxt_gen.fuse import fuse
from prototxt_gen.fused_weights import fuse_weights, plain_view
from prototxt_gen.layers import Blob, Net, message
from prototxt_gen.models import DEPLOY, TRAIN, build
from tests.prototxt_gen.test_blocks import ARCH, deepest_feature, lines

SOLVERS = Path(__file__).parents[2] / "solvers"
PAPER = ["baseline", "classmate", "dfcnet"]
FUSED = "densenet.dense_block='fused'"


def both(name: str, phase: str, *settings: str) -> tuple[Net, Net]:
    """Return the plain and the fused form of an experiment's net."""
    path = SOLVERS / name / "experiment.toml"
    forms = [f"densenet.dense_block='{form}'" for form in ("plain", "fused")]
    plain, fused = (build(read_experiment(path, [*settings, form]), phase) for form in forms)
    return plain, fused


def weights_of(net: Net) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(4)
    return {
        name: [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        for name, shapes in net.parameter_shapes().items()
    }


@pytest.fixture
def net() -> Net:
    net = Net("tiny", "train")
    net.section("All")
    return net


def test_an_integration_that_is_not_a_sum_stays_as_it_is(net):
    small, large = net.input("small", (1, 4, 5, 5)), net.input("large", (1, 4, 9, 9))
    with net.group(blocks.INTEGRATION, "merged"):
        operands = [net.interp("merged/up", small, zoom_factor=2), large]
        tops = [Blob("merged", large.shape)]
        net.add("Eltwise", "merged", operands, tops, message("eltwise_param", operation="MAX"))
    assert lines(fuse(net)) == lines(net)


def test_a_dense_block_is_one_layer_that_joins_its_bottoms(net):
    up, skip = net.input("up", (2, 7, 9, 9)), net.input("skip", (2, 3, 9, 9))
    blocks.dense_block(net, 4, blocks.join(net, 4, [up, skip]), 2, ARCH)
    net = fuse(net)
    assert net.layers[-1].tops == (Blob("dense_block4", (2, 10 + 2 * 3, 9, 9)),)
    assert lines(net)[2:] == ["DenseBlock dense_block4: up skip > dense_block4"]
    assert dict(dict(net.layers[-1].fields)["dense_block_param"]) == {
        "num_units": "2",
        "growth_rate": "3",
        "bottleneck": "12",
        "weight_filler": [("type", '"msra"')],
    }
    unit_1 = [
        (10,),
        (10,),
        (1,),
        (10,),
        (10,),
        (12, 10, 1, 1),
        (12,),
        (12,),
        (1,),
        (12,),
        (12,),
        (3, 12, 3, 3),
    ]
    unit_2 = [
        (13,),
        (13,),
        (1,),
        (13,),
        (13,),
        (12, 13, 1, 1),
        (12,),
        (12,),
        (1,),
        (12,),
        (12,),
        (3, 12, 3, 3),
    ]
    assert net.parameter_shapes()["dense_block4"] == unit_1 + unit_2


def test_bottlenecks_are_kept_in_training_alone():
    path, keep = SOLVERS / "dfcnet_demo" / "experiment.toml", "densenet.keep_bottlenecks=true"
    exp = read_experiment(path, [FUSED, keep])
    for phase, expected in ((TRAIN, "true"), (DEPLOY, None)):
        layers = [layer for layer in build(exp, phase).layers if layer.type == "DenseBlock"]
        assert {dict(dict(x.fields)["dense_block_param"]).get("keep_bottlenecks") for x in layers} == {
            expected
        }


def test_stem_transitions_and_head_are_fused_too(net):
    data = net.input("data", (1, 3, 65, 65))
    x = blocks.stem(net, data, ARCH)
    x = blocks.transition_down(net, 2, x, ARCH)
    x = blocks.transition_up(net, 3, x, net.input("skip", (1, 4, 33, 33)), ARCH)
    x = blocks.dense_block(net, 4, x, 1, ARCH)
    blocks.task_head(net, "land", x, 6, 65, 8, ARCH)
    assert lines(fuse(net))[1:] == [
        "Convolution conv1: data > conv1",
        "BNReLU conv1/bn: conv1 > conv1/bn",
        "BNReLUConvolution conv2_blk: conv1/bn > conv2_blk",
        "Pooling pool2: conv2_blk > pool2",
        "Input skip:  > skip",
        "BNReLUConvolution conv3_blk: pool2 > conv3_blk",
        "Interp up3: conv3_blk > up3",
        "DenseBlock dense_block4: up3 skip > dense_block4",
        "Convolution land/conv: dense_block4 > land/conv",
        "BNReLUConvolution land/score: land/conv > land/score",
        "Interp land/up: land/score > land_score",
    ]


def test_dense_fusion_adds_into_the_larger_map(net):
    fusion = blocks.DenseFusion(net, Fusion(channels=3), ARCH)
    x6, x7 = net.input("x6", (1, 4, 5, 5)), net.input("x7", (1, 4, 9, 9))
    fusion.add(6, x6)
    fusion.add(7, x7)
    net.convolution("reader", fusion.result(), 1, kernel=1)
    assert lines(fuse(net))[2:] == [
        "BNReLUConvolution fusion6: x6 > fusion6",
        "BNReLUConvolution fusion7: x7 > fusion7",
        "Interp fusion6_7: fusion6 fusion7 > fusion7",
        "Convolution reader: fusion7 > reader",
    ]


def test_addends_of_one_size_are_added_in_the_place_of_the_later(net):
    blocks.integrate(net, "fusion2_3", net.input("x", (1, 2, 5, 5)), net.input("y", (1, 2, 5, 5)))
    assert lines(fuse(net))[2:] == ["Interp fusion2_3: x y > y"]
    assert dict(fuse(net).layers[-1].fields)["interp_param"] == [("zoom_factor", "1")]


def test_dense_fusion_enlarges_the_sum_of_each_resolution_once_and_as_soon_as_it_is_there(net):
    deepest_feature(net)
    fused = fuse(net)
    kinds = ("Interp", "BNReLUConvolution")
    assert [line for line in lines(fused) if line.startswith(kinds)] == [
        "BNReLUConvolution fusion2: block2 > fusion2",
        "BNReLUConvolution fusion3: block3 > fusion3",
        "BNReLUConvolution fusion4: block4 > fusion4",
        "BNReLUConvolution fusion5: block5 > fusion5",
        "Interp fusion4+fusion5: fusion5 fusion4 > fusion4",
        "BNReLUConvolution fusion6: block6 > fusion6",
        "Interp fusion6+fusion4: fusion4 fusion6 > fusion6",
        "Interp fusion3+fusion6: fusion6 fusion3 > fusion3",
        "BNReLUConvolution fusion7: block7 > fusion7",
        "Interp fusion7+fusion3: fusion3 fusion7 > fusion7",
        "Interp fusion2+fusion7: fusion7 fusion2 > fusion2",
        "BNReLUConvolution fusion8: block8 > fusion8",
        "Interp fusion8+fusion2: fusion2 fusion8 > fusion8",
        "BNReLUConvolution fusion9: block9 > fusion9",
        "Interp fusion2_9: fusion8 fusion9 > fusion9",
    ]
    zooms = [dict(dict(x.fields)["interp_param"])["zoom_factor"] for x in fused.layers if x.type == "Interp"]
    assert zooms == ["2", "1", "2", "1", "2", "1", "2"]


@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
@pytest.mark.parametrize("name", PAPER)
def test_both_forms_have_the_same_parameters(name, phase):
    plain, fused = both(name, phase)
    assert len(fused.layers) < len(plain.layers) / 10
    assert plain_view(fused.parameter_shapes()) == plain.parameter_shapes()
    assert list(plain_view(fused.parameter_shapes())) == list(plain.parameter_shapes())


@pytest.mark.parametrize("name", PAPER)
def test_weights_come_back_bit_for_bit_from_the_other_form(name):
    plain, fused = both(name, TRAIN)
    weights = weights_of(plain)
    there = fuse_weights(weights)
    assert {k: [b.shape for b in v] for k, v in there.items()} == fused.parameter_shapes()
    assert list(there) == list(fused.parameter_shapes())
    back = plain_view(there)
    assert list(back) == list(weights)
    for layer, blobs in weights.items():
        assert [blob.tobytes() for blob in back[layer]] == [blob.tobytes() for blob in blobs]


def test_each_blob_of_a_fused_layer_is_that_of_its_plain_layer():
    """By hand: block 3, unit 2's 3x3 filters are the last of the second dozen; a score's bias is its last."""
    _, fused = both("dfcnet_demo", TRAIN)
    weights = weights_of(fused)
    view = plain_view(weights)
    assert view["conv3_2/x2"][0] is weights["dense_block3"][23]
    assert view["conv3_1/x1/bn"][2] is weights["dense_block3"][2]
    assert view["conv3_1/x2/scale"][1] is weights["dense_block3"][10]
    assert view["conv1/scale"][0] is weights["conv1/bn"][3]
    assert view["road/score"][1] is weights["road/score"][6]
    assert view["road/conv/bn"][0] is weights["road/score"][0]
    assert view["fusion4"][0] is weights["fusion4"][5]


def test_what_is_no_whole_fused_layer_stays_plain():
    """The public DenseNet-121 ends with BatchNorm and Scale of conv5_blk, without its convolution."""
    plain, _ = both("baseline", DEPLOY)
    weights = weights_of(plain)
    encoder = {k: v for k, v in weights.items() if k.startswith(("conv1", "conv2", "conv5"))}
    del encoder["conv5_blk"], encoder["conv2_3/x2/scale"]
    encoder["fc6"] = [np.ones((1000, 1024, 1, 1), np.float32), np.ones(1000, np.float32)]
    there = fuse_weights(encoder)
    assert "dense_block5" in there
    assert {"conv5_blk/bn", "conv5_blk/scale", "fc6", "conv2_3/x1", "conv2_blk"} <= set(there)
    assert "dense_block2" not in there
    back = plain_view(there)
    assert set(back) == set(encoder)
    assert all(a is b for k in encoder for a, b in zip(back[k], encoder[k], strict=True))


def test_multipliers_reach_the_same_blobs_in_both_forms():
    setting = "multipliers=[{layers='conv2_*/x2', lr=0.1, decay=0.5}, {layers='land/conv*', lr=0}]"
    plain, fused = both("dfcnet_demo", TRAIN, setting)
    expected = {}
    for layer in plain.layers:
        given = [dict(value) for key, value in layer.fields if key == "param"]
        default = {"lr_mult": "1", "decay_mult": "1"}
        expected[layer.name] = (given + [default] * len(layer.params))[: len(layer.params)]
    seen = 0
    # Number all blobs of the fused net, to find those of each plain layer.
    first, of_layer = 0, {}
    for layer in fused.layers:
        of_layer[layer.name] = range(first, first + len(layer.params))
        first += len(layer.params)
    numbers = plain_view({name: numbers for name, numbers in of_layer.items() if numbers})
    for layer in fused.layers:
        given = [dict(value) for key, value in layer.fields if key == "param"]
        inside = of_layer[layer.name]
        names = {
            name: [number - inside.start for number in blobs]
            for name, blobs in numbers.items()
            if blobs[0] in inside
        }
        if not given:
            assert not any(
                fnmatchcase(name, pattern) for name in names for pattern in ("conv2_*/x2", "land/conv*")
            )
            continue
        assert len(given) == len(layer.params)
        for name, places in names.items():
            assert [given[place] for place in places] == expected[name], name
        seen += 1
    assert seen == 3  # DenseBlock 2, land's 3x3, and the BatchNorm before land's score


def test_a_pattern_that_fits_no_plain_layer_is_refused():
    with pytest.raises(NetError, match="no layer is named dense_block2"):
        both("dfcnet", TRAIN, "multipliers=[{layers='dense_block2'}]")


@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
@pytest.mark.parametrize("name", PAPER)
def test_both_forms_give_the_same_picture(name, phase):
    plain, fused = map(read_diagram, both(name, phase))
    assert fused.nodes == plain.nodes
    assert sorted(map(repr, fused.edges)) == sorted(map(repr, plain.edges))


def test_both_forms_are_drawn_alike(tmp_path):
    from PIL import Image

    pictures = []
    for number, net in enumerate(both("dfcnet", TRAIN)):
        draw(net, tmp_path / f"{number}.png", overwrite=False)
        pictures.append(np.asarray(Image.open(tmp_path / f"{number}.png").convert("L"), int))
    assert np.abs(pictures[0] - pictures[1]).max() == 0


@pytest.mark.parametrize("name", PAPER)
def test_both_forms_multiply_alike(name):
    plain, fused = (layer_costs(net).values() for net in both(name, DEPLOY))
    assert sum(cost.multiply_adds for cost in plain) == sum(cost.multiply_adds for cost in fused)
    assert sum(cost.parameters for cost in plain) == sum(cost.parameters for cost in fused)


def test_a_fused_block_counted_by_hand(net):
    x = net.input("x", (2, 10, 9, 9))
    blocks.dense_block(net, 4, x, 2, ARCH)
    blocks.dense_block(net, 5, net.input("y", (1, 10, 17, 17)), 1, ARCH)
    net = fuse(net)
    cost = layer_costs(net)["dense_block4"]
    assert cost.multiply_adds == 2 * 81 * (12 * 10 + 3 * 12 * 9 + 12 * 13 + 3 * 12 * 9)
    assert cost.deploy_bytes == 4 * 2 * 16 * 81
    assert cost.training_bytes == 2 * cost.deploy_bytes  # and its gradient
    assert shared_scratch(net) == 4 * (3 * 12 + 3) * 17 * 17  # the larger of 2 x 81 and 289 pixels


def test_kept_bottlenecks_counted_by_hand(net):
    x = net.input("x", (2, 10, 9, 9))
    blocks.dense_block(net, 4, x, 2, ARCH)
    net = fuse(net, keep_bottlenecks=True)
    assert layer_costs(net)["dense_block4"].training_bytes == 4 * 2 * 81 * (2 * 16 + 2 * 12)
    assert shared_scratch(net) == 4 * 2 * 81 * (2 * 12 + 3)


def test_an_interp_that_adds_in_place_keeps_nothing(net):
    blocks.integrate(net, "sum", net.input("x", (1, 2, 5, 5)), net.input("y", (1, 2, 9, 9)))
    assert layer_costs(fuse(net))["sum"].training_bytes == 0
