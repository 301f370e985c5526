"""The arms derive from one experiment: the paper's from the paper's, and equal but for what they compare."""

import math
from pathlib import Path

import pytest

from common.errors import ExperimentError
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import build
from studies.arms import ARMS, derive, main_crops

SOLVERS = Path(__file__).parents[2] / "solvers"


@pytest.fixture
def base():
    return read_experiment(SOLVERS / "dfcnet" / "experiment.toml")


@pytest.mark.parametrize(("name", "batch"), [("baseline", 32), ("classmate", 16), ("dfcnet", 16)])
def test_the_papers_arms_are_the_committed_experiments(base, name, batch):
    derived = derive(base, name, base.solver.random_seed, Path("data"), {"baseline": 32})
    assert derived == read_experiment(SOLVERS / name / "experiment.toml")
    assert derived.solver.batch_size == batch


def test_every_arm_sees_as_many_land_crops_with_the_same_schedule(base):
    arms = {name: derive(base, name, 7, Path("d")) for name in ARMS}
    assert {main_crops(exp) for exp in arms.values()} == {8 * 80_000}
    for exp in arms.values():
        assert exp.solver.model_copy(update={"batch_size": 16, "random_seed": 1}) == base.solver
        assert exp.solver.random_seed == 7
        assert (exp.input, exp.tasks["land"].source) == (base.input, "d/land_train_lmdb")


def test_the_controls_differ_in_one_thing_each(base):
    arms = {name: derive(base, name, 1, Path("d")) for name in ARMS}
    dfcnet, alone = arms["dfcnet"], arms["dfcnet_no_road"]
    assert list(alone.tasks) == ["land"]
    assert (alone.densenet, alone.fusion) == (dfcnet.densenet, dfcnet.fusion)
    classmate, shuffled = arms["classmate"], arms["classmate_shuffled"]
    assert shuffled.tasks["road"].source == "d/road_shuffled_lmdb"
    own = shuffled.tasks["road"].model_copy(update={"source": "d/road_train_lmdb"})
    assert own == classmate.tasks["road"]
    assert shuffled.densenet == classmate.densenet


@pytest.mark.parametrize("solver", ["dfcnet", "dfcnet_real", "dfcnet_demo"])
def test_the_large_classmate_is_as_deep_and_as_large_as_dfcnet_without_its_fusion(solver):
    base = read_experiment(SOLVERS / solver / "experiment.toml")
    dfcnet, large = (derive(base, name, 1, Path("d")) for name in ("dfcnet", "classmate_large"))
    assert large.fusion is None
    own, same = large.densenet.model_dump(), dfcnet.densenet.model_dump()
    up_channels = own.pop("up_channels")
    assert up_channels > same.pop("up_channels")
    assert own == same
    assert (large.tasks, large.solver, large.head_channels) == (
        dfcnet.tasks,
        dfcnet.solver,
        dfcnet.head_channels,
    )

    def parameters(up_channels: int) -> int:
        table = large.model_dump(exclude_none=True)
        table["densenet"]["up_channels"] = up_channels
        shapes = build(type(large).model_validate(table), "train").parameter_shapes().values()
        return sum(math.prod(shape) for blobs in shapes for shape in blobs)

    fused = build(dfcnet, "train").parameter_shapes().values()
    target = sum(math.prod(shape) for blobs in fused for shape in blobs)
    assert parameters(up_channels - 1) < target <= parameters(up_channels)
    assert parameters(up_channels) < 1.01 * target


def test_a_batch_that_does_not_divide_is_named(base):
    with pytest.raises(
        ExperimentError, match="dfcnet as baseline: batch_size 20 is not a multiple of 8 ranks"
    ):
        derive(base, "baseline", 1, Path("d"), {"baseline": 20})
