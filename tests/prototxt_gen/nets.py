"""The nets of solvers/*.toml, built once for all tests, and what tests ask of a net."""

from functools import cache
from pathlib import Path

from prototxt_gen.experiment import Experiment, read_experiment
from prototxt_gen.layers import Net
from prototxt_gen.models import build

SOLVERS = Path(__file__).parents[2] / "solvers"
NAMES = sorted(path.parent.name for path in SOLVERS.glob("*/experiment.toml"))
PAPER = ["baseline", "classmate", "dfcnet"]


@cache
def experiment(name: str) -> Experiment:
    return read_experiment(SOLVERS / name / "experiment.toml")


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
