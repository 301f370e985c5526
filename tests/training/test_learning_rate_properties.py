"""Caffe's learning rate is that of the policy's formula, from the solver's text that an experiment gives."""

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prototxt_gen.emit import solver_text
from prototxt_gen.experiment import Experiment, read_experiment
from tests.conftest import TINY
from training.pycaffe import import_caffe

pytestmark = pytest.mark.caffe
NET = """
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 1 } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "x" top: "loss" }
"""
STEPS = 6


def fixed(rate, at, s):
    return rate


def poly(rate, at, s):
    return rate * (1 - at / s["max_iter"]) ** s["power"]


def step(rate, at, s):
    return rate * s["gamma"] ** (at // s["stepsize"])


def exp(rate, at, s):
    return rate * s["gamma"] ** at


def inv(rate, at, s):
    return rate * (1 + s["gamma"] * at) ** -s["power"]


def multistep(rate, at, s):
    return rate * s["gamma"] ** sum(1 for value in s["stepvalue"] if at >= value)


def sigmoid(rate, at, s):
    return rate / (1 + math.exp(-s["gamma"] * (at - s["stepsize"])))


def with_solver(exp: Experiment, changes: dict) -> Experiment:
    return exp.model_copy(update={"solver": exp.solver.model_copy(update=changes)})


@settings(max_examples=20)
@given(
    st.sampled_from([fixed, poly, step, exp, inv, multistep, sigmoid]),
    st.fixed_dictionaries(
        {
            "max_iter": st.integers(STEPS, 20),
            "power": st.sampled_from([0.0, 0.5, 0.9, 2.0]),
            "gamma": st.sampled_from([0.1, 0.5, 0.99]),
            "stepsize": st.integers(1, 5),
            "stepvalue": st.sets(st.integers(1, STEPS), min_size=1).map(lambda values: tuple(sorted(values))),
        }
    ),
    st.sampled_from([1e-4, 0.01, 0.3]),
)
def test_caffes_rate_is_the_policys_at_every_iteration(policy, changes, rate):
    caffe = import_caffe()
    caffe.set_mode_cpu()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("net", NET), ("tiny.toml", TINY)):
            (Path(folder) / name).write_text(text)
        experiment = with_solver(
            read_experiment(Path(folder) / "tiny.toml"),
            {"lr_policy": policy.__name__, "base_lr": rate, **changes},
        )
        text = solver_text(experiment, f"{folder}/net", f"{folder}/s", "CPU", [], snapshots=False)
        (Path(folder) / "solver").write_text(text)
        solver = caffe.get_solver(f"{folder}/solver")
        for at in range(STEPS):
            assert solver.lr == pytest.approx(policy(rate, at, changes), rel=1e-5)
            solver.step(1)
