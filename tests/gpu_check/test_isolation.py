"""Functions and commands that die, hang or start others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu_check.devices import CPU, Device
from gpu_check.isolation import ProcessDied, Worker, checked_command, run_command, run_isolated

LONG = 280  # seconds: within a test's time


def end_with(how: str) -> str:
    """What an isolated process may do."""
    match how:
        case "answer":
            return f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}"
        case "raise":
            raise ValueError("no such thing")
        case "check":
            os.write(2, b"I1122 starts\nF1122 Check failed: a == b (1 vs. 2)\n*** trace ***\n")
            os.kill(os.getpid(), signal.SIGABRT)
        case "child":
            return str(subprocess.Popen(["sleep", "300"]).pid)
    signal.pause()
    return ""


def test_a_process_for_the_cpu_sees_no_gpu():
    answer = run_isolated(end_with, "answer", timeout=LONG, environment=CPU.environment)
    assert answer.split()[1:] == []
    assert Device(0).environment == {}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", "ValueError: no such thing"),
        ("check", r"signal 6: F1122 Check failed: a == b \(1 vs. 2\)"),
        ("hang", "no answer after 2 s"),
    ],
)
def test_a_function_that_raises_aborts_or_hangs_is_told_in_a_line(how, words):
    with pytest.raises(ProcessDied, match=words):
        run_isolated(end_with, how, timeout=2 if how == "hang" else LONG)


def test_one_process_answers_until_it_dies_and_then_another():
    with Worker() as worker:
        first = [worker.call(end_with, "answer", timeout=LONG) for _ in range(2)]
        with pytest.raises(ProcessDied):
            worker.call(end_with, "check", timeout=LONG)
        assert first[0] == first[1] != worker.call(end_with, "answer", timeout=LONG)


def test_what_an_isolated_function_has_started_ends_with_it():
    child = run_isolated(end_with, "child", timeout=LONG)
    wait_until(lambda: has_ended(Path("/proc", child, "stat")))


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit(3)", "exit code 3, and it said nothing"),
        ("import sys; print('a'); sys.exit('no GPU')", "no GPU"),
        ("import time; time.sleep(60)", "after 2 s there was no end"),
    ],
)
def test_a_command_that_fails_hangs_or_says_nothing_is_told_in_a_line(program, words):
    with pytest.raises(ProcessDied, match=f"^{words}$"):
        checked_command([sys.executable, "-c", program], 2 if "sleep" in program else LONG)


def test_what_a_command_that_hangs_has_started_ends_with_it(tmp_path):
    run_command(["sh", "-c", f"sleep 60 & echo $! >{tmp_path}/pid; wait"], 1)
    wait_until(lambda: has_ended(Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")))


def test_a_commands_variables_are_added_or_removed(monkeypatch):
    monkeypatch.setenv("GONE", "1")
    out, _, _ = run_command(["sh", "-c", "echo $ADDED-$GONE"], LONG, {"ADDED": "2", "GONE": None})
    assert out == "2-\n"


def has_ended(status: Path) -> bool:
    try:
        return status.read_text().split()[2] == "Z"
    except OSError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
