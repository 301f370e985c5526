"""A net of fused layers, written as plain ones, is the plain net."""

from pathlib import Path

import pytest

from common.errors import NetError
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.emit import net_message
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, TRAIN, build
from prototxt_gen.unfuse import unfuse

pytestmark = pytest.mark.caffe
SOLVERS = Path(__file__).parents[2] / "solvers"


def parsed(text: str):
    from google.protobuf import text_format

    return text_format.Parse(text, caffe_pb2().NetParameter())


def net_of(name: str, phase: str, form: str):
    exp = read_experiment(SOLVERS / name / "experiment.toml", [f"densenet.dense_block='{form}'"])
    return net_message(build(exp, phase))


def canonical(net):
    """Return a net without what changes nothing: names of ReLUs, fillers."""
    for layer in net.layer:
        if layer.type == "ReLU":
            layer.ClearField("name")
        layer.convolution_param.ClearField("weight_filler")
        layer.ClearField("param")
    return net


def without_sums(net) -> tuple[list, dict[str, dict[str, int]]]:
    """Return the layers that add nothing, and for each sum that they read: addend -> its enlargement."""
    zooms: dict[str, dict[str, int]] = {}
    adds = {x for layer in net.layer if layer.type == "Eltwise" for x in layer.bottom}
    others = []
    for layer in net.layer:
        parts = [zooms.get(x, {x: 1}) for x in layer.bottom]
        if layer.type == "Eltwise":
            zooms[layer.top[0]] = {x: zoom for part in parts for x, zoom in part.items()}
        elif layer.type == "Interp" and layer.top[0] in adds:
            by = layer.interp_param.zoom_factor
            zooms[layer.top[0]] = {x: by * zoom for x, zoom in parts[0].items()}
        else:
            others.append(layer)
    read = {x for layer in others for x in layer.bottom}
    return others, {name: part for name, part in zooms.items() if name in read}


@pytest.mark.parametrize("phase", [DEPLOY, TRAIN])
@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_the_papers_nets_are_the_plain_ones_again_but_for_the_order_of_sums(name, phase):
    fused, plain = net_of(name, phase, "fused"), net_of(name, phase, "plain")
    assert len(fused.layer) < len(plain.layer) / 5
    layers, sums = without_sums(canonical(unfuse(fused)))
    assert (layers, sums) == without_sums(canonical(plain))
    if name == "dfcnet":
        zooms = dict(zip("23456789", (2, 4, 8, 16, 8, 4, 2, 1), strict=True))
        assert sums == {"fusion2_9": {f"fusion{block}": zoom for block, zoom in zooms.items()}}


def test_sums_in_place_become_sums_of_their_own():
    """In stock Caffe no layer may write to its second bottom, and Eltwise to none."""
    fused = net_of("dfcnet", DEPLOY, "fused")
    again = unfuse(fused)
    made = set()
    for layer in again.layer:
        assert set(layer.bottom) <= made, layer.name
        for top in layer.top:
            in_place = layer.type in ("BatchNorm", "Scale", "ReLU") and layer.bottom[0] == top
            assert in_place or top not in made, layer.name
        made |= set(layer.top)
    sums = {layer.name: list(layer.bottom) for layer in again.layer if layer.type == "Eltwise"}
    assert sums["fusion7+fusion3"] == ["fusion3+fusion6", "fusion7"]
    assert sums["fusion8+fusion2"] == ["fusion2+fusion7", "fusion8"]
    assert sums["fusion2_9"] == ["fusion2_9/up", "fusion9"]
    assert next(layer for layer in again.layer if layer.name == "land/conv").bottom[0] == "fusion2_9"


def test_a_plain_net_comes_back_as_it_is():
    plain = net_of("dfcnet", DEPLOY, "plain")
    assert unfuse(plain) == plain


def test_a_dense_block_of_another_name_is_refused():
    net = parsed('layer { name: "mine" type: "DenseBlock" bottom: "a" top: "b" }')
    with pytest.raises(
        NetError, match="mine: is a DenseBlock of another name; call it one of dense_block2, "
    ):
        unfuse(net)


def test_a_bottleneck_that_no_growth_rate_divides_is_refused():
    text = 'layer { name: "dense_block3" type: "DenseBlock" bottom: "a" top: "b" dense_block_param { %s } }'
    with pytest.raises(NetError, match="dense_block3: bottleneck 5 is not a multiple of growth_rate 2"):
        unfuse(parsed(text % "num_units: 1 growth_rate: 2 bottleneck: 5"))
