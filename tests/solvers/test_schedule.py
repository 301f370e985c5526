"""The learning rate told to the user is the one that Caffe uses."""

import pytest

from prototxt_gen.experiment import Solver
from solvers.schedule import learning_rate

COMMON = {"batch_size": 8, "ranks": 1, "max_iter": 100, "base_lr": 0.1, "snapshot": 10}


@pytest.mark.parametrize(
    ("policy", "iteration", "rate"),
    [
        ({"lr_policy": "fixed"}, 99, 0.1),
        ({"lr_policy": "poly", "power": 0.9}, 0, 0.1),
        ({"lr_policy": "poly", "power": 0.5}, 75, 0.05),  # 0.1 * sqrt(1 - 0.75)
        ({"lr_policy": "poly", "power": 2.0}, 100, 0.0),
        ({"lr_policy": "step", "gamma": 0.1, "stepsize": 30}, 29, 0.1),
        ({"lr_policy": "step", "gamma": 0.1, "stepsize": 30}, 60, 0.001),
        ({"lr_policy": "multistep", "gamma": 0.5, "stepvalue": [10, 20]}, 9, 0.1),
        ({"lr_policy": "multistep", "gamma": 0.5, "stepvalue": [10, 20]}, 10, 0.05),
        ({"lr_policy": "multistep", "gamma": 0.5, "stepvalue": [10, 20]}, 99, 0.025),
        ({"lr_policy": "exp", "gamma": 0.5}, 3, 0.0125),
        ({"lr_policy": "inv", "gamma": 1.0, "power": 0.5}, 3, 0.05),
        ({"lr_policy": "sigmoid", "gamma": -0.5, "stepsize": 50}, 50, 0.05),
    ],
)
def test_rates_computed_by_hand(policy, iteration, rate):
    assert learning_rate(Solver(**COMMON, **policy), iteration) == pytest.approx(rate)


def test_a_sigmoid_far_from_its_middle_does_not_overflow():
    solver = Solver(**COMMON, lr_policy="sigmoid", gamma=0.1, stepsize=40000)
    assert learning_rate(solver, 0) == pytest.approx(0, abs=1e-100)
    assert learning_rate(solver, 80000) == pytest.approx(0.1)
