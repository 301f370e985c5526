"""Times and memory, of Caffe and of PyTorch."""

import os

import numpy as np
import pytest

from gpu_check import parity, speed, speed_checks
from gpu_check.deadline import Deadline
from gpu_check.devices import CPU
from gpu_check.isolation import run_isolated
from gpu_check.nets import write_net
from gpu_check.target import Target

LONG = 280  # seconds: within a test's time


@pytest.mark.caffe
def test_speeds_are_measured_with_their_memory_and_first_answer(tmp_path, case):
    tile = write_net(tmp_path, "dfcnet", False, 33, small=True)
    for each in (case, tile):
        measured = run_isolated(speed.speed, each, "fused", CPU, timeout=LONG)
        assert 0 < measured.seconds < 60
        assert 1 << 16 < measured.memory < 1 << 33
        expected = parity.net_answer(each, "plain", CPU).outputs
        for name, blob in measured.answer.items():
            assert np.allclose(blob, expected[name], rtol=1e-3)


@pytest.mark.caffe
def test_each_layers_time_is_measured(case):
    times = run_isolated(speed.layer_times, case, "fused", CPU, timeout=LONG)
    assert {"conv1", "dense_block2", "land/loss"} <= times.keys()
    assert all(forward >= 0 <= backward for forward, backward in times.values())


def test_cudnns_choices_are_counted_by_direction(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "I1 cudnn_lanes.cpp:1] cuDNN: conv1, forward: algorithm 1, math 3, 12 KiB\n"
        "I1 cudnn_lanes.cpp:1] cuDNN: DenseBlock, 1 x 8 x 5 x 5 to 2, forward: algorithm 1, math 3, 0 KiB\n"
        "I1 cudnn_lanes.cpp:1] cuDNN: conv1, backward to data: algorithm 4 refuses to run\n"
    )
    assert speed.algorithms(log) == (
        "backward to data: algorithm 4 refuses x 1; forward: algorithm 1, math 3 x 2"
    )


@pytest.mark.caffe
def test_pytorch_answers_as_caffe_does(tmp_path):
    peer = os.environ.get("PEERS_PYTHON")
    if not peer:
        pytest.skip("PEERS_PYTHON does not name a Python with PyTorch")
    target = Target(tmp_path, 0, quick=True, peer=peer)
    checks = (speed_checks.fused, speed_checks.pytorch)
    rows = [row for check in checks for row in check(target, Deadline(LONG))]
    compared = [row for row in rows if "answers against Caffe's" in row.name]
    assert [row.ok for row in compared] == [True, True], rows
    assert all(row.ok is None for row in rows if row not in compared)


def test_without_a_python_for_pytorch_its_rows_say_so(tmp_path):
    (row,) = speed_checks.pytorch(Target(tmp_path, 0), Deadline(LONG))
    assert (row.ok, row.words) == (None, "skipped: no --peer, a Python with PyTorch")


def test_memory_that_does_not_suffice_is_a_measurement_and_no_failure(tmp_path, monkeypatch, case):
    target = Target(tmp_path, 0, quick=True)
    for words, ok in (("CUBLAS_STATUS_ALLOC_FAILED", None), ("CUDNN_STATUS_BAD_PARAM", False)):
        monkeypatch.setattr(speed, "speed", partial_death(words))
        (row,) = speed_checks.measured(target, case, "fused", "FP32", {}, Deadline(LONG))
        assert row.ok is ok, row.words


class partial_death:
    """A function for another process, which raises what it was made with."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __call__(self, *_: object) -> None:
        raise RuntimeError(f"F1122 (3 vs. 0) {self.words}")
