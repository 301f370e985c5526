"""Settings that go together are emitted; those that do not are refused with the reason."""

from pathlib import Path

import pytest

from common.errors import ExperimentError, NetError
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, TRAIN, build

SOLVERS = Path(__file__).parents[2] / "solvers"


def experiment(name: str, *settings: str):
    return read_experiment(SOLVERS / name / "experiment.toml", settings)


@pytest.mark.parametrize(
    ("setting", "layer", "shape"),
    [
        ("tasks.land.dataset='deepglobe_road'", "land/score", (2, 256, 1, 1)),
        ("densenet.growth_rate=48", "conv2_1/x2", (48, 192, 3, 3)),
        ("densenet.encoder_units=[1, 12, 24, 16]", "conv2_blk", (48, 96, 1, 1)),
        ("densenet.stem_channels=96", "conv1", (96, 3, 7, 7)),
        ("densenet.up_channels=128", "conv5_blk", (128, 1024, 1, 1)),
        ("fusion.channels=64", "fusion9", (64, 448, 1, 1)),
        ("head_channels=32", "road/conv", (32, 256, 3, 3)),
    ],
)
def test_a_setting_changes_its_layer(setting, layer, shape):
    assert build(experiment("dfcnet", setting), TRAIN).parameter_shapes()[layer][0] == shape


def test_input_and_crop_reach_the_data_layers():
    net = build(experiment("dfcnet", "input.crop=513", "input.mean=[1, 2.5, 3]", "input.scale=0.5"), TRAIN)
    layers = {layer.name: layer for layer in net.layers}
    assert layers["land_data"].tops[0].shape == (1, 4, 513, 513)
    fields = dict(layers["land_data"].fields)["transform_param"]
    assert [value for name, value in fields if name == "mean_value"] == ["1", "2.5", "3", "0"]
    assert layers["data/scale"].fields == (("power_param", [("scale", "0.5")]),)


def test_heads_of_a_deploy_net_are_chosen():
    net = build(experiment("dfcnet"), DEPLOY, ["road"])
    assert "road_prob" in {top.name for layer in net.layers for top in layer.tops}
    assert not [layer for layer in net.layers if layer.name.startswith("land")]


@pytest.mark.parametrize(
    ("name", "heads", "phase", "words"),
    [
        ("baseline", ["road"], DEPLOY, "baseline: has no task road; choose from land"),
        ("dfcnet", ["sea"], DEPLOY, "dfcnet: has no task sea; choose from land, road"),
        ("dfcnet", ["land"], TRAIN, "dfcnet: trains land and road together"),
    ],
)
def test_heads_that_there_are_not_are_refused(name, heads, phase, words):
    with pytest.raises(NetError, match=words):
        build(experiment(name), phase, heads)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("input.crop=1024", "crop 1024 is not 32k\\+1; take 993 or 1025"),
        ("densenet.growthrate=3", "unknown key densenet.growthrate"),
        ("tasks.land.class_weights=[1.0, 2.0]", r"class_weights is \[1\.0, 2\.0\]; give 6, one for each"),
        ("tasks.land.class_weights=[0, 0, 0, 0, 0, 0]", "class_weights is .*; give 6, .*, not all 0"),
        ("solver.lr_policy='step'", "needs gamma and stepsize"),
        (
            "solver.iter_size=2",
            "solver.iter_size is not to be given; leave it out: it follows from batch_size",
        ),
        ("solver.test_interval=500", "validate_every scores held-out records"),
        ("multipliers=[{layers='conv1', rl=0.1}]", "unknown key multipliers.0.rl"),
        ("model='baseline'", "model is not to be given; leave it out: tasks, and a table .fusion. or none"),
        ("fusion_channels=3", "fusion_channels is not to be given; leave it out: it is called channels"),
        (
            "solver.validate_every=300",
            "snapshot 2000 is not a multiple of validate_every 300, .* to be kept by; take 1800 or 2100",
        ),
        ("solver.validate_every=3000", "not a multiple of validate_every 3000, .*; take 3000$"),
        ("solver.batch_size=15", "batch_size 15 is not a multiple of 8 ranks"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(setting, words):
    with pytest.raises(ExperimentError, match=words):
        experiment("dfcnet", setting)


@pytest.mark.parametrize("setting", ["input.crop", "input.crop=", "input.crop=five", "model.x=1", "=3"])
def test_a_setting_that_is_no_setting_is_refused(setting):
    with pytest.raises(ExperimentError):
        experiment("dfcnet", setting)


def test_a_multiplier_that_fits_no_layer_is_refused():
    with pytest.raises(NetError, match="multipliers: no layer is named conv12"):
        build(experiment("dfcnet", "multipliers=[{layers='conv12*', lr=0.1}]"), TRAIN)
