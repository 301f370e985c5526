"""The GPU check, checked without a GPU: the CPU against itself, and what must not pass."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common.errors import OutputError
from gpu_check import own_tests, parity, speed, training
from gpu_check.cases import CASES, Case
from gpu_check.checks import Checks, Row
from gpu_check.devices import Device
from gpu_check.isolation import Died, isolated
from prototxt_gen.emit import solver_text
from prototxt_gen.experiment import read_experiment
from tests.training.test_mpi import mpirun

ROOT = Path(__file__).parents[2]
CPU = Device()
PLAIN = ("densenet.dense_block='plain'",)


def test_the_distance_is_that_of_the_worst_blob_in_its_own_length():
    theirs = {"small": np.array([3.0, 4.0]), "large": np.array([300.0, 400.0])}
    ours = {"small": np.array([3.0, 4.5]), "large": np.array([301.0, 400.0])}
    assert parity.compare(ours, theirs) == parity.Distance("small", 0.1)


def test_no_number_is_never_within_a_tolerance():
    theirs = {"a": np.ones(3), "b": np.ones(3)}
    distance = parity.compare({"a": np.array([1, np.nan, 1]), "b": np.ones(3)}, theirs)
    assert distance.blob == "a"
    assert not distance.within(1e9)


def test_rounding_in_a_blob_that_is_almost_zero_does_not_count():
    theirs = {"bias": np.full(4, 1e-12), "weights": np.ones(4)}
    assert parity.compare({"bias": np.full(4, -1e-12), "weights": np.ones(4)}, theirs).within(1e-5)


def test_blobs_that_one_side_lacks_are_an_error():
    with pytest.raises(ValueError, match="other blobs"):
        parity.compare({"a": np.ones(1)}, {"b": np.ones(1)})


def end_with(how: str) -> str:
    """What an isolated process may do."""
    match how:
        case "answer":
            return "42"
        case "raise":
            raise ValueError("no such thing")
        case "check":
            os.write(2, b"I1122 starts\nF1122 Check failed: a == b (1 vs. 2)\n*** trace ***\n")
            os.kill(os.getpid(), signal.SIGABRT)
    signal.pause()
    return ""


def test_an_isolated_function_answers():
    assert isolated(end_with, "answer") == "42"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", "ValueError: no such thing"),
        ("check", r"signal 6: F1122 Check failed: a == b \(1 vs. 2\)"),
        ("hang", "no answer after 2 s"),
    ],
)
def test_a_function_that_raises_aborts_or_hangs_is_told_in_a_line(how, words):
    with pytest.raises(Died, match=words):
        isolated(end_with, how, timeout=2 if how == "hang" else 60)


OUTPUT = """[==========] Running 3 tests from 2 test cases.
[ RUN      ] InterpLayerTest/2.TestForward
[       OK ] InterpLayerTest/2.TestForward (1 ms)
[ RUN      ] InterpLayerTest/3.TestGradient
"""


def test_a_test_program_that_ends_well_is_counted():
    text = OUTPUT + "[       OK ] InterpLayerTest/3.TestGradient (1 ms)\n[  PASSED  ] 2 tests.\n"
    assert own_tests.read_result(text, "", 0) == own_tests.Result(2, (), "[  PASSED  ] 2 tests.")


def test_failed_tests_are_named_once():
    line = "[  FAILED  ] InterpLayerTest/3.TestGradient, where TypeParam = caffe::GPUDevice<double>"
    text = f"{OUTPUT}{line} (3 ms)\n[  PASSED  ] 1 test.\n[  FAILED  ] 1 test, listed below:\n{line}\n"
    result = own_tests.read_result(text, "", 1)
    assert (result.passed, result.failed) == (1, ("InterpLayerTest/3.TestGradient",))


def test_a_test_program_that_dies_has_failed_the_test_it_was_in():
    result = own_tests.read_result(OUTPUT, "F1122 Check failed: error == cudaSuccess\n    @ 0x55 main\n", -6)
    assert result.failed == ("InterpLayerTest/3.TestGradient",)
    assert result.last_line == "F1122 Check failed: error == cudaSuccess"


PROGRAM = """#!{python}
import os, sys
wanted, _, unwanted = sys.argv[1].removeprefix("--gtest_filter=").partition("-")
for name in ("A.1", "A.2", "B.1", "B.2", "B.3"):
    if name in unwanted.split(":"):
        continue
    print("[ RUN      ] " + name, flush=True)
    if name in ("A.2", "B.2"):
        print("F1122 Check failed in " + name, file=sys.stderr, flush=True)
        os.abort()
    print(("[  FAILED  ] " if name == "B.1" else "[       OK ] ") + name + " (1 ms)", flush=True)
print("[  PASSED  ] some tests.")
"""


def test_tests_that_end_the_program_have_failed_and_the_others_are_run(tmp_path):
    program = tmp_path / "test_layers"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    result = own_tests.run_own_tests("*", None, program)
    assert (result.passed, result.failed) == (2, ("A.2", "B.1", "B.2"))
    assert result.last_line == "F1122 Check failed in A.2"


@pytest.mark.parametrize("words", ["echo starting", "echo '[ RUN      ] A.1'"])
def test_a_test_program_that_hangs_is_killed_and_has_failed(tmp_path, words):
    program = tmp_path / "test_layers"
    program.write_text(f"#!/bin/sh\n{words}\nexec sleep 60\n")
    program.chmod(0o755)
    result = own_tests.run_own_tests("*", None, program, timeout=1)
    assert (result.passed, len(result.failed)) == (0, 1)
    assert result.last_line == "no end in the time for all tests"


def test_tests_are_left_out_behind_the_only_hyphen_of_a_filter():
    assert own_tests.without("*/2.*", []) == "*/2.*"
    assert own_tests.without("*/2.*", ["A.1", "B.1"]) == "*/2.*-A.1:B.1"
    assert own_tests.without("*/0.*-*GPU*", ["A.1"]) == "*/0.*-*GPU*:A.1"


@pytest.mark.caffe
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_runs_and_the_cpu_agrees_with_itself(case):
    if case.type not in parity.layer_types():
        pytest.skip(f"this Caffe has no layer {case.type}")
    assert parity.layer_parity(case, CPU, CPU).value == 0
    blobs = parity._run_layer(case, CPU)
    gradients = [name for name in blobs if name.startswith("gradient of x")]
    assert len(gradients) == len(case.shapes) - bool(case.classes)
    assert all(np.any(blob) for name, blob in blobs.items() if "x" in name or name.startswith("y"))


@pytest.mark.caffe
def test_a_layer_that_computes_something_else_is_found():
    interp = next(case for case in CASES if case.name == "Power")
    other = Case(interp.name, interp.type, "power_param { scale: 0.01701 }", interp.shapes)
    distance = parity.compare(parity._run_layer(other, CPU), parity._run_layer(interp, CPU))
    assert not distance.within(parity.LAYER_TOLERANCE)


@pytest.mark.caffe
def test_a_whole_net_is_compared_blob_by_blob():
    exp = read_experiment(ROOT / "solvers" / "dfcnet_demo" / "experiment.toml", ["input.crop=33"])
    assert [distance.value for distance in parity.net_parity(exp, CPU, CPU)] == [0, 0, 0]


def test_the_distance_of_all_blobs_is_that_of_one_long_vector():
    theirs = {"a": np.array([3.0]), "b": np.array([4.0])}
    assert parity.compare_whole({"b": np.array([4.0]), "a": np.array([2.5])}, theirs).value == 0.1


@pytest.mark.caffe
def test_a_run_resumed_in_the_middle_ends_with_the_same_weights_and_a_longer_one_does_not(tmp_path):
    options = [*training.settings(tmp_path, 1), "input.crop=33", "solver.base_lr=0.01"]
    whole = training.train(tmp_path / "whole", options, [])
    assert {task: len(values) for task, values in whole.losses.items()} == {"land": 20, "road": 20}
    assert training.resume_half(whole.folder, tmp_path / "resumed", options, []) == 0
    other = training.train(tmp_path / "other", [*options, "solver.base_lr=0.011"], [])
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
        exp = read_experiment(ROOT / "solvers" / "dfcnet_demo" / "experiment.toml", options)
        text = solver_text(exp, "train.prototxt", "s", "GPU", [], ranks)
        assert f"layer_wise_reduce: {layer_wise}\n" in text


@pytest.mark.caffe
@pytest.mark.parametrize("passes", training.REDUCED.values(), ids=training.REDUCED)
@pytest.mark.parametrize("share", [True, False], ids=["averaged", "not averaged"])
def test_all_gpus_pass_only_if_their_gradients_are_averaged(tmp_path, monkeypatch, share, passes):
    """MPI's processes on the CPU stand in; a rank that averages with none learns from its own share alone."""
    real = training.train

    def train(folder, options, gpus):
        if len(gpus) == 1:
            return real(folder, options, [])
        if not share:
            return real(folder, [*options, f"solver.batch_size={2 * passes}", "solver.ranks=1"], [])
        words = [word for option in options for word in ("--set", option)]
        tool = ROOT / "tools" / "train.py"
        process = mpirun(len(gpus), tool, "dfcnet_demo", "--cpu", "--run", folder, *words)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        return training.read_training(folder)

    monkeypatch.setattr(training, "train", train)
    row = Checks(tmp_path, 2, quick=True)._all_gpus("somehow", passes)
    assert row.name == "NCCL on 2 GPUs, somehow, weights"
    assert row.ok is share, row.words


@pytest.mark.caffe
def test_speeds_are_measured_with_their_memory(tmp_path):
    demo = ROOT / "solvers" / "dfcnet_demo" / "experiment.toml"
    for name in ("train", "tile"):
        (tmp_path / name).mkdir()
    for measured in (
        isolated(speed.train_speed, demo, 33, (), tmp_path / "train", CPU, 1),
        isolated(speed.tile_speed, demo, True, 65, PLAIN, tmp_path / "tile", CPU, 1),
    ):
        assert 0 < measured.seconds < 60
        assert 1 << 20 < measured.memory < 1 << 33


def test_a_check_that_fails_is_a_row_and_the_next_one_runs(tmp_path):
    def dies(*_: object) -> None:
        raise Died("signal 6: out of memory")

    checks = Checks(tmp_path, 0)
    assert checks._compared("layer X", 1, dies).ok is False
    assert checks._measured("train at 1025", end_with).ok is False


def test_memory_that_does_not_suffice_is_a_measurement_and_no_failure(tmp_path):
    checks = Checks(tmp_path, 0)
    for words, ok in (("CUBLAS_STATUS_ALLOC_FAILED", None), ("CUDNN_STATUS_BAD_PARAM", False)):
        assert checks._measured("train at 1025", partial(raise_with, f"F1122 (3 vs. 0) {words}")).ok is ok


def raise_with(words: str, *_: object) -> None:
    raise RuntimeError(words)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit(3)", "exit code 3, and it said nothing"),
        ("import sys; print('a'); sys.exit('no GPU')", "no GPU"),
        ("import time; time.sleep(60)", "no end after 2 s"),
    ],
)
def test_a_training_that_fails_hangs_or_says_nothing_is_told_in_a_line(program, words):
    with pytest.raises(Died, match=f"^{words}$"):
        training.run([sys.executable, "-c", program], 2)


def test_what_a_training_that_hangs_has_started_ends_with_it(tmp_path):
    child = f"sleep 60 & echo $! >{tmp_path}/pid; wait"
    with pytest.raises(Died, match="no end after 1 s"):
        training.run(["sh", "-c", child], 1)
    status = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")

    def has_ended() -> bool:
        try:
            return status.read_text().split()[2] == "Z"
        except OSError:
            return True

    wait_until(has_ended)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_file_that_cannot_be_written_is_refused_before_the_checks(tmp_path, monkeypatch):
    from gpu_check import __main__ as command

    monkeypatch.setattr(Checks, "rows", lambda self: pytest.fail("the checks were begun"))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        command.main(["--cpu", "--json", str(tmp_path / "file" / "gpu.json")])


def test_the_summary_stands_there_even_if_the_file_cannot_be_written_in_the_end(
    tmp_path, monkeypatch, capsys
):
    from gpu_check import __main__ as command

    def rows(_: Checks) -> Iterator[Row]:
        yield Row("layer Scale", True, "")
        shutil.rmtree(tmp_path / "folder")
        (tmp_path / "folder").touch()

    monkeypatch.setattr(Checks, "rows", rows)
    with pytest.raises(OutputError, match="folder"):
        command.main(["--cpu", "--json", str(tmp_path / "folder" / "gpu.json")])
    assert "1 checks, 0 failed" in capsys.readouterr().out


def test_the_table_its_file_and_the_exit_code_say_what_failed(tmp_path, monkeypatch, capsys):
    from gpu_check import __main__ as command

    rows = [
        Row("layer Scale", True, "2.0e-07 of 1e-04 (y0)"),
        Row("tile of 513", None, "9.5 images/s, 105 ms for 1, 0.8 GiB"),
    ]
    monkeypatch.setattr(Checks, "rows", lambda self: iter(rows))
    assert command.main(["--cpu", "--json", str(tmp_path / "a.json")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "the CPU in a GPU's place",
        "ok     layer Scale                               2.0e-07 of 1e-04 (y0)",
        "       tile of 513                               9.5 images/s, 105 ms for 1, 0.8 GiB",
        "2 checks, 0 failed",
    ]
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["gpus"] == ["CPU"]
    assert written["checks"][0] == {"name": "layer Scale", "ok": True, "result": "2.0e-07 of 1e-04 (y0)"}
    rows.append(Row("resumed", False, "signal 6: out of memory"))
    assert command.main(["--cpu"]) == 1
    assert capsys.readouterr().out.endswith("3 checks, 1 failed\n  resumed: signal 6: out of memory\n")


@pytest.mark.caffe
def test_a_machine_without_a_gpu_gets_one_line_and_exit_code_2():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "gpu_check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gpu-check: this machine shows no NVIDIA GPU")
    assert done.stderr.count("\n") == 1
