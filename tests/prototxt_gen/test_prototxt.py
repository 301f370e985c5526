"""Prototxts read without Caffe: which layers are a task's own."""

from pathlib import Path

import pytest

from prototxt_gen.emit import net_message
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, build
from prototxt_gen.prototxt import head_of
from tests.prototxt_gen.random_net import folded

SOLVERS = Path(__file__).parents[2] / "solvers"


@pytest.mark.caffe
@pytest.mark.parametrize("form", ["plain", "fused", "folded"])
@pytest.mark.parametrize("name", ["baseline", "dfcnet"])
def test_a_head_is_what_is_called_after_its_task(name, form):
    setting = "densenet.dense_block='fused'" if form == "fused" else "input.crop=65"
    exp = read_experiment(SOLVERS / name / "experiment.toml", [setting])
    message = folded(exp)[0] if form == "folded" else net_message(build(exp, DEPLOY))
    for task in ("land", "road")[: 1 + (name == "dfcnet")]:
        own = {layer.name for layer in message.layer if layer.name.startswith((f"{task}/", f"{task}_"))}
        assert head_of(message, f"{task}_prob") == own
        assert len(own) > 3
