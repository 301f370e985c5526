"""Training: as plain Caffe does it, to exactly max_iter, and never silently wrong."""

import importlib.util
import json
import os
import signal
import subprocess
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from common.errors import OutputError, RunError
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.experiment import read_experiment
from prototxt_gen.model_card import read_card
from tests.datasets import DATASETS
from training import driver, progress, snapshots
from training.rank import RankOptions
from training.run import Run, open_run

pytestmark = pytest.mark.caffe


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Sums in one order, so that two trainings can be compared to the bit."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def new_run(tiny: Path, name: str, **replace: str) -> Run:
    text = tiny.read_text()
    for key, value in replace.items():
        text = "\n".join(f"{key} = {value}" if row.startswith(f"{key} ") else row for row in text.split("\n"))
    path = tiny.with_name(f"{name}.toml")
    path.write_text(text)
    return open_run(read_experiment(path), tiny.with_name(f"run_{name}"), 1, False)


def blobs(path: Path) -> dict[str, list[np.ndarray]]:
    net = caffe_pb2().NetParameter.FromString(path.read_bytes())
    return {layer.name: [np.array(blob.data) for blob in layer.blobs] for layer in net.layer if layer.blobs}


def entries(run: Run) -> list[dict]:
    """Return the display steps of a run's log."""
    lines = map(json.loads, run.log.read_text().splitlines())
    return [line for line in lines if "loss" in line]


def test_it_gives_the_weights_of_the_plain_caffe_tool(tiny, tmp_path):
    ours = new_run(tiny, "ours")
    driver.train(ours)
    plain = new_run(tiny, "plain")
    with plain.solver.open("a") as solver:
        solver.write("snapshot: 4\n")
    tool = Path(importlib.util.find_spec("caffe").origin).parents[2] / "bin" / "caffe"
    environment = os.environ | {"GLOG_log_dir": str(tmp_path)}
    subprocess.run([tool, "train", "-solver", plain.solver], check=True, capture_output=True, env=environment)
    expected = blobs(plain.snapshots / ".caffe_iter_6.caffemodel")
    trained = blobs(ours.weights)
    assert trained.keys() == expected.keys()
    for name, values in expected.items():
        for value, got in zip(values, trained[name], strict=True):
            np.testing.assert_array_equal(got, value, err_msg=name)


def test_it_logs_losses_and_rates_and_stops_at_max_iter(tiny):
    run = new_run(tiny, "run", max_iter="7")
    driver.train(run)
    log = entries(run)
    assert [entry["iteration"] for entry in log] == [2, 4, 6, 7]
    assert all(set(entry["loss"]) == {"land", "road"} for entry in log)
    assert log[0]["lr"] == pytest.approx(0.05 * (6 / 7) ** 0.9)  # the second update
    assert all(0 <= entry["data_wait"] < 1 and entry["memory"] > 1e7 for entry in log)
    assert log[0]["total_loss"] == pytest.approx(sum(log[0]["loss"].values()))
    assert sorted(path.name for path in run.snapshots.iterdir()) == ["iter_00000004", "iter_00000007"]
    card = read_card(run.weights)
    assert (card.experiment, card.iteration, card.crop) == ("run", 7, 33)
    assert card.tasks == DATASETS


def test_the_rates_of_the_log_are_those_of_caffes_own(tiny):
    run = new_run(tiny, "run", display="1")
    driver.train(run)
    caffe = {}
    for line in (run.folder / "caffe.log").read_text().splitlines():
        if ", lr = " in line:
            words = line.split("Iteration ")[1].split(", lr = ")
            caffe[int(words[0])] = float(words[1])
    ours = {entry["iteration"] - 1: entry["lr"] for entry in entries(run)}
    assert set(caffe) == set(ours) == {0, 1, 2, 3, 4, 5}
    for iteration, rate in caffe.items():
        assert ours[iteration] == pytest.approx(rate, rel=1e-4)


def test_a_loss_falls_on_data_that_can_be_learnt(tiny):
    run = new_run(tiny, "run", max_iter="60", display="10", snapshot="100")
    driver.train(run)
    log = entries(run)
    assert log[-1]["loss"]["land"] < 0.8 * log[0]["loss"]["land"]


def test_a_loss_that_leaves_the_numbers_ends_the_run_with_the_iteration(tiny):
    run = new_run(tiny, "run", base_lr="1e30")
    with pytest.raises(
        RunError, match=r"loss is nan at iteration \d; there is no snapshot yet; lower base_lr"
    ):
        driver.train(run)
    assert not run.weights.exists()


def test_an_abort_inside_caffe_is_told_with_its_last_words(tiny):
    run = new_run(tiny, "run")
    text = (run.folder / "train.prototxt").read_text()
    (run.folder / "train.prototxt").write_text(text.replace("zoom_factor: 2", "zoom_factor: 0"))
    with pytest.raises(RunError, match=r"rank 0 ended with signal 6; Caffe's last words: .*zoom_factor is 0"):
        driver.train(run)


def test_words_of_an_older_process_are_not_taken_for_a_ranks_last(tiny):
    run = new_run(tiny, "run")
    (run.folder / "caffe.log").write_text("F0101 an older process: out of memory\n")
    (run.folder / "train.prototxt").write_text("name: 1 2 3")
    with pytest.raises(RunError) as caught:
        driver.train(run)
    assert "older process" not in str(caught.value)


def test_a_log_that_ends_in_half_a_line_is_gone_on_with(tiny):
    run = new_run(tiny, "run")
    run.log.write_text('{"iteration": 2, "loss": {"land": 1.0}, "lr": 1}\n{"iterat')
    driver.train(run)
    assert [entry["iteration"] for entry in entries(run)] == [2, 2, 4, 6]


def test_a_killed_rank_ends_the_run(tiny):
    run = new_run(tiny, "run", max_iter="100000", snapshot="100000")

    def kill_the_rank():
        while not run.log.exists() or "loss" not in run.log.read_text():
            time.sleep(0.05)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        ranks = [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        os.kill(int(ranks[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill_the_rank)
    killer.start()
    start = time.monotonic()
    with pytest.raises(RunError, match="rank 0 ended with signal 9"):
        driver.train(run)
    killer.join()
    assert time.monotonic() - start < 60


def test_weights_to_start_from_are_loaded_and_counted(tiny, capsys):
    first = new_run(tiny, "first")
    driver.train(first)
    second = new_run(tiny, "second", base_lr="1e-30", max_iter="1")
    driver.train(second, options=RankOptions(weights=(first.weights,)))
    layers = len(blobs(first.weights))
    line = f"{first.weights}: {layers} layers loaded: Stem (3), DenseBlock 2 ("
    assert line in capsys.readouterr().out
    np.testing.assert_array_equal(blobs(second.weights)["conv1"][0], blobs(first.weights)["conv1"][0])


def test_sigterm_may_come_twice_and_ctrl_c_after_it_ends_at_once():
    """Make passes SIGTERM on to a training that has got it already, with make, as one of a process group."""
    with driver._stop_signals() as caught:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert caught == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_that_comes_with_the_last_iteration_is_not_lost(tiny, tmp_path, monkeypatch):
    """A study would go on to its next training."""
    monkeypatch.setattr(driver, "_ranks", lambda *_: nullcontext({}))
    monkeypatch.setattr(driver, "_watch", lambda *arguments: arguments[-1].append(signal.SIGINT))
    monkeypatch.setattr(Run, "is_done", lambda _: True)
    (tmp_path / "run").mkdir()
    assert driver.train(Run(read_experiment(tiny), tmp_path / "run")) == 128 + signal.SIGINT


def test_a_log_on_a_full_disk_ends_the_training_with_a_snapshot_and_one_error(tiny, monkeypatch):
    run = new_run(tiny, "run", display="1", max_iter="1000", snapshot="1000")
    with monkeypatch.context() as full:
        full.setattr(
            progress,
            "open",
            lambda *_, **__: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", 0),
            raising=False,
        )
        with pytest.raises(OutputError, match=r"log\.jsonl: cannot be written \(No space left .* --resume"):
            driver.train(run)
    kept = snapshots.newest(run.snapshots, pytest.fail)
    assert 1 <= kept.iteration < 20
    assert not run.weights.exists()


def test_a_log_that_cannot_be_opened_is_one_error_before_anything_is_computed(tiny):
    run = new_run(tiny, "run")
    run.log.mkdir()
    with pytest.raises(OutputError, match=r"log\.jsonl: cannot be written \(Is a directory\)"):
        driver.train(run)


def test_a_log_of_caffe_that_cannot_be_opened_is_one_error_of_its_rank(tiny):
    run = new_run(tiny, "run")
    run.caffe_log(0).mkdir()
    with pytest.raises(OutputError, match=r"run/caffe\.log: cannot be written \(Is a directory\); make room"):
        driver.train(run)
    assert not snapshots.listed(run.snapshots)
