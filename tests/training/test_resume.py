"""A run that was stopped and goes on gives, to the bit, what one gives that was never stopped."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.model_card import read_card
from tests.conftest import refused
from training import snapshots

pytestmark = pytest.mark.caffe
TOOL = Path(__file__).parents[2] / "tools" / "train.py"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


def start(tiny: Path, run: str, *options: str) -> subprocess.Popen:
    command = [sys.executable, TOOL, tiny, "--cpu", "--run", run, *options]
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def set_to(tiny: Path, **values: object) -> None:
    lines = tiny.read_text().split("\n")
    for key, value in values.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} ") else line for line in lines]
    tiny.write_text("\n".join(lines))


def momentum(state: Path) -> list[np.ndarray]:
    parsed = caffe_pb2().SolverState.FromString(state.read_bytes())
    return [np.array(blob.data) for blob in parsed.history]


def assert_equal(a: Path, b: Path, iteration: int) -> None:
    """Compare weights, statistics, momentum and iteration of the last snapshots of two runs."""
    a, b = (snapshots.read(run / "snapshots" / f"iter_{iteration:08d}") for run in (a, b))
    assert a.weights.read_bytes() == b.weights.read_bytes()
    for one, other in zip(momentum(a.state), momentum(b.state), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stop_at", [1, 5, 8])
def test_2n_iterations_are_n_a_snapshot_and_n_more(tiny, tmp_path, stop_at):
    """With random crops and mirroring; the records (8) are gone through more than once."""
    set_to(tiny, max_iter=12, snapshot=f"{stop_at}\nkeep_snapshots = 20")
    finish(start(tiny, "straight"))
    finish(start(tiny, "stopped"))
    run = tmp_path / "stopped"
    (run / "weights.caffemodel").unlink()
    for path in run.glob("snapshots/iter_*"):
        if int(path.name.removeprefix("iter_")) > stop_at:
            (path / "manifest.json").unlink()
    out = finish(start(tiny, "stopped", "--resume"))
    assert f"continuing from stopped/snapshots/iter_{stop_at:08d}, iteration {stop_at}" in out
    assert "is not whole" in out
    assert_equal(tmp_path / "straight", run, 12)
    weights = [tmp_path / name / "weights.caffemodel" for name in ("straight", "stopped")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_in_a_snapshot_from_which_the_run_goes_on_exactly(tiny, tmp_path, number):
    set_to(tiny, max_iter=1500, snapshot=100000, display=5)
    process = start(tiny, "run")
    log = tmp_path / "run" / "log.jsonl"
    while not log.exists() or "loss" not in log.read_text():
        time.sleep(0.02)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number, err
    assert "snapshot written; --resume continues from there" in out
    assert 5 <= snapshots.newest(tmp_path / "run" / "snapshots", print).iteration < 1500
    assert not (tmp_path / "run" / "weights.caffemodel").exists()
    finish(start(tiny, "run", "--resume"))
    finish(start(tiny, "straight"))
    assert_equal(tmp_path / "straight", tmp_path / "run", 1500)


def test_fifty_kills_leave_a_valid_snapshot_and_a_run_that_ends_as_if_nothing_had_been(tiny, tmp_path):
    set_to(tiny, max_iter=400, snapshot=3, display=400)
    finish(start(tiny, "straight"))
    rng = random.Random(3)
    folder = tmp_path / "killed" / "snapshots"
    best = kills = 0
    for _ in range(50):
        process = start(tiny, "killed", "--resume")
        while process.poll() is None and not any(folder.glob("iter_*")):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.9))
        if process.poll() is not None:
            process.communicate()
            break
        kills += 1
        process.kill()
        process.communicate()
        wait_for_the_rank(tmp_path / "killed")
        newest = snapshots.newest(folder, print)
        assert newest is not None
        assert newest.iteration >= best
        best = newest.iteration
    assert kills >= 25  # 50, unless the machine trains to the end between them
    finish(start(tiny, "killed", "--resume"))
    weights = [tmp_path / name / "weights.caffemodel" for name in ("straight", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not list(folder.glob(".*"))


def wait_for_the_rank(run: Path) -> None:
    """Wait until the rank of a killed parent has ended itself: it may be in the middle of a snapshot."""
    until = time.monotonic() + 10
    while any(works_in(entry, run.parent) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        assert time.monotonic() < until, "a rank outlived its parent"
        time.sleep(0.02)


def works_in(process: Path, folder: Path) -> bool:
    try:
        is_rank = b"spawn_main" in (process / "cmdline").read_bytes()
        return is_rank and os.readlink(process / "cwd") == str(folder)
    except OSError:
        return False


def test_another_experiment_is_not_resumed(tiny, tmp_path, run_tool):
    finish(start(tiny, "run"))
    (tmp_path / "run" / "weights.caffemodel").unlink()
    set_to(tiny, base_lr=0.5)
    done = run_tool("train.py", tiny, "--cpu", "--run", "run", "--resume")
    refused(done, "run: was started with solver.base_lr = 0.05, now it is 0.5; ", "--run")
    out = finish(start(tiny, "run", "--resume", "--overwrite"))
    assert "weights after 6 iterations" in out
    assert "going on" not in out


def test_a_finished_run_is_left_as_it_is(tiny, tmp_path):
    finish(start(tiny, "run"))
    before = (tmp_path / "run" / "weights.caffemodel").stat().st_mtime_ns
    assert "run/weights.caffemodel: trained already" in finish(start(tiny, "run", "--resume"))
    assert (tmp_path / "run" / "weights.caffemodel").stat().st_mtime_ns == before


@pytest.mark.parametrize("kept", [0, 0.5])
def test_final_weights_that_are_cut_off_are_written_again_from_the_last_snapshot(tiny, tmp_path, kept):
    finish(start(tiny, "run"))
    weights = tmp_path / "run" / "weights.caffemodel"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: int(kept * len(whole))])
    assert "weights after 6 iterations" in finish(start(tiny, "run", "--resume"))
    assert weights.read_bytes() == whole


def test_two_trainings_in_one_folder_are_refused(tiny, tmp_path, run_tool):
    set_to(tiny, max_iter=100000, snapshot=100000)
    process = start(tiny, "run")
    log = tmp_path / "run" / "log.jsonl"
    while not log.exists():
        time.sleep(0.02)
    try:
        for option in ("--resume", "--overwrite"):
            done = run_tool("train.py", tiny, "--cpu", "--run", "run", option)
            refused(done, "run: another process trains there")
    finally:
        process.kill()
        process.communicate()


def test_other_weights_are_refused_by_a_finished_and_by_an_unfinished_run(tiny, tmp_path, run_tool):
    for name in ("one", "other"):
        finish(start(tiny, name, "--set", f"solver.random_seed={len(name)}"))
    finish(start(tiny, "run", "--weights", "one/weights.caffemodel"))
    again = ("train.py", tiny, "--cpu", "--run", "run", "--resume", "--weights", "other/weights.caffemodel")
    words = (
        "run: was started from one/weights.caffemodel (SHA-256 ",
        "now --weights names other/weights.caffemodel",
    )
    refused(run_tool(*again), *words)
    (tmp_path / "run" / "weights.caffemodel").unlink()
    refused(run_tool(*again), *words)
    assert "continuing from run/snapshots/iter_00000006" in finish(start(tiny, "run", "--resume"))
    card = read_card(tmp_path / "run" / "weights.caffemodel")
    checksum = hashlib.sha256((tmp_path / "one" / "weights.caffemodel").read_bytes()).hexdigest()
    assert [(each.name, each.sha256) for each in card.started_from] == [("one/weights.caffemodel", checksum)]
    assert read_card(tmp_path / "one" / "weights.caffemodel").started_from == ()


def test_a_run_stopped_before_its_first_snapshot_begins_again_with_the_weights_that_it_was_begun_with(
    tiny, tmp_path
):
    finish(start(tiny, "first"))
    first = ("--weights", "first/weights.caffemodel")
    set_to(tiny, random_seed=7)
    finish(start(tiny, "straight", *first))
    finish(start(tiny, "stopped", *first))
    shutil.rmtree(tmp_path / "stopped" / "snapshots")
    (tmp_path / "stopped" / "snapshots").mkdir()
    (tmp_path / "stopped" / "weights.caffemodel").unlink()
    assert "first/weights.caffemodel: " in finish(start(tiny, "stopped", "--resume"))
    weights = [tmp_path / name / "weights.caffemodel" for name in ("straight", "stopped")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
