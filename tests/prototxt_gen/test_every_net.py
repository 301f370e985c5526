"""What holds for the net of every experiment, the paper's and small ones."""

from itertools import pairwise

import pytest

from common.errors import NetError
from prototxt_gen.models import DEPLOY, TRAIN, build
from tests.prototxt_gen.nets import NAMES, experiment, net


@pytest.mark.parametrize("name", NAMES)
def test_train_and_deploy_have_the_same_parameters(name):
    assert net(name, TRAIN).parameter_shapes() == net(name, DEPLOY).parameter_shapes()


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
