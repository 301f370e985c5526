"""Trainings as a user starts them, the CPU in a GPU's place."""

from pathlib import Path

import pytest

from gpu_check import training
from gpu_check.deadline import Deadline
from gpu_check.nets import experiment
from gpu_check.target import Target
from gpu_check.training_checks import all_gpus
from prototxt_gen.emit import solver_text
from tests.training.test_mpi import mpirun

ROOT = Path(__file__).parents[2]
LONG = 280  # seconds: within a test's time


@pytest.mark.caffe
def test_a_run_resumed_in_the_middle_ends_with_the_same_weights_and_a_longer_one_does_not(tmp_path):
    options = [*training.settings(tmp_path, 1), "input.crop=33", "solver.base_lr=0.01"]
    whole = training.train(tmp_path / "whole", options, [], Deadline(LONG))
    assert {task: len(values) for task, values in whole.losses.items()} == {"land": 20, "road": 20}
    assert training.resume_half(whole.folder, tmp_path / "resumed", options, [], Deadline(LONG)) == 0
    other = training.train(tmp_path / "other", [*options, "solver.base_lr=0.011"], [], Deadline(LONG))
    assert (
        training.weights_distance(other.folder / "weights.caffemodel", whole.folder / "weights.caffemodel")
        > 0
    )
    assert whole.distance(other, 0) == 0
    assert whole.distance(other, -1) > 0


@pytest.mark.parametrize(("way", "layer_wise"), [("layer by layer", "true"), ("at once", "false")])
def test_nccl_is_tried_in_both_ways_that_caffe_has(tmp_path, way, layer_wise):
    """The paper's DFCNet, with one pass for an update, averages layer by layer."""
    passes = training.REDUCED[way]
    for ranks in (1, 2):
        options = training.settings(tmp_path / str(ranks), ranks, passes=passes)
        exp = experiment(training.DEMO, options)
        text = solver_text(exp, "train.prototxt", "s", "GPU", [], ranks)
        assert f"layer_wise_reduce: {layer_wise}\n" in text


@pytest.mark.caffe
@pytest.mark.parametrize("passes", training.REDUCED.values(), ids=training.REDUCED)
@pytest.mark.parametrize("share", [True, False], ids=["averaged", "not averaged"])
def test_all_gpus_pass_only_if_their_gradients_are_averaged(tmp_path, monkeypatch, share, passes):
    """MPI's processes on the CPU stand in; a rank that averages with none learns from its own share alone."""
    real = training.train

    def train(folder, options, gpus, deadline):
        if len(gpus) == 1:
            return real(folder, options, [], deadline)
        if not share:
            options = [*options, f"solver.batch_size={2 * passes}", "solver.ranks=1"]
            return real(folder, options, [], deadline)
        words = [word for option in options for word in ("--set", option)]
        tool = ROOT / "tools" / "train.py"
        process = mpirun(len(gpus), tool, "dfcnet_demo", "--cpu", "--run", folder, *words)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        return training.read_training(folder)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the one process too: OpenBLAS's sums depend on it
    row = all_gpus(Target(tmp_path, 2, quick=True), "somehow", passes, Deadline(LONG))
    assert row.name == "NCCL on 2 GPUs, somehow, weights"
    assert row.ok is share, row.words
