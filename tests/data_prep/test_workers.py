"""Workers: the order of the jobs, flat memory, errors that come through, nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import DataError
from data_prep.workers import check_workers, ordered
from tests.conftest import HEED_CTRL_C

ROOT = Path(__file__).parents[2]


def squares(job: int):
    """Yield three results a job; the first jobs are the slowest."""
    time.sleep(0.1 / (job + 1))
    for k in range(3):
        yield (os.getpid(), job, k), bytes([job, k]) * 50


def fail_at_two(job: int):
    if job == 2:
        raise DataError("two.jpg", "is broken", "fix it")
    yield job, b""


def raise_a_bug(job: int):
    yield job, b"" if job < 2 else 1 / 0


def die(job: int):
    os.kill(os.getpid(), signal.SIGKILL)
    yield job, b""


def too_long(job: int):
    yield job, bytes(101)


def crash_at_odd(job: int):
    yield (os.getpid(), job), b"begun"
    if job % 2:
        os.kill(os.getpid(), (signal.SIGSEGV, signal.SIGABRT)[job // 2 % 2])
    yield (os.getpid(), job), b"done"


@pytest.mark.parametrize(("workers", "slots"), [(None, 1), (1, 1), (2, 1), (2, 5), (4, 2)])
def test_results_come_in_the_order_of_the_jobs(workers, slots):
    results = [(info[1:], bytes(data)) for info, data in ordered(squares, range(7), workers, slots, 100)]
    assert results == [((job, k), bytes([job, k]) * 50) for job in range(7) for k in range(3)]


def test_the_work_is_done_by_that_many_other_processes():
    makers = {info[0] for info, _ in ordered(squares, range(9), 3, 5, 100)}
    assert len(makers) == 3
    assert os.getpid() not in makers


@pytest.mark.parametrize("workers", [None, 1, 2])
def test_an_error_comes_where_its_result_would(workers):
    results = ordered(fail_at_two, range(5), workers, 1, 10)
    assert [next(results)[0], next(results)[0]] == [0, 1]
    with pytest.raises(DataError, match=r"two\.jpg: is broken; fix it"):
        next(results)


def test_a_bug_in_a_worker_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(ordered(raise_a_bug, range(5), 2, 1, 10))


def test_results_that_do_not_fit_are_a_bug_and_not_cut():
    with pytest.raises(RuntimeError, match="101 bytes for a slot of 100"):
        list(ordered(too_long, range(2), 2, 1, 100))


def test_a_worker_that_is_killed_is_named():
    with pytest.raises(DataError, match=r"--workers: a worker process died \(exit code -9\)"):
        list(ordered(die, range(5), 2, 1, 10))


@pytest.mark.parametrize(("workers", "slots"), [(1, 5), (3, 1)])
def test_a_job_that_crashes_its_worker_costs_no_other_job(workers, slots):
    crashes = {1: "SIGSEGV", 3: "SIGABRT", 5: "SIGSEGV"}
    results = ordered(
        crash_at_odd, range(6), workers, slots, 10, crashed=lambda job, by: ((0, job), by.encode())
    )
    told = [(info[1], bytes(data).decode()) for info, data in results]
    expected = [((job, "begun"), (job, crashes.get(job, "done"))) for job in range(6)]
    assert told == [result for pair in expected for result in pair]


def test_a_worker_that_memory_ran_out_for_is_not_taken_for_a_crash():
    with pytest.raises(DataError, match=r"--workers: a worker process died \(exit code -9\)"):
        list(ordered(die, range(5), 1, 1, 10, crashed=lambda job, by: (job, b"")))


def test_nobody_is_left_when_the_reader_stops():
    results = ordered(squares, range(50), 3, 1, 100)
    makers = [next(results)[0][0] for _ in range(12)]
    results.close()
    for pid in makers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_ctrl_c_reaches_the_parent_alone_and_all_end():
    code = """
import sys
sys.path[:0] = [{root!r}]
from tests.data_prep.test_workers import squares
from data_prep.workers import ordered
try:
    for info, data in ordered(squares, range(10**6), 2, 1, 100):
        print(info[0], flush=True)
except KeyboardInterrupt:
    sys.exit(130)
"""
    command = [*HEED_CTRL_C, sys.executable, "-c", code.format(root=str(ROOT))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        makers = {int(process.stdout.readline()) for _ in range(12)}
        os.killpg(process.pid, signal.SIGINT)
        rest, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (130, "")
    for pid in makers | {int(line) for line in rest.split()}:
        assert not Path("/proc", str(pid)).exists()


@pytest.mark.parametrize("workers", [0, -2])
def test_no_workers_are_refused(workers):
    with pytest.raises(DataError, match=f"--workers: is {workers}"):
        check_workers(workers)
