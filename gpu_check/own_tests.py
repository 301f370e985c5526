"""Caffe's own tests in C++ of the layers that our nets are made of, on a GPU."""

import importlib.util
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# Caffe's typed tests: /0 and /1 are float and double on the CPU, /2 and /3 on a GPU; the others are named so.
ON_GPU = "*/2.*:*/3.*:*GPU*:*CuDNN*:*NCCL*"
ON_CPU = "*/0.*:*/1.*-*GPU*:*CuDNN*:*NCCL*"
RESTARTS = 20
SUMMARY = "[  PASSED  ]"  # gtest's, where the program has ended by itself


@dataclass(frozen=True)
class Result:
    """How many tests passed, and the names of those that did not."""

    passed: int
    failed: tuple[str, ...]
    last_line: str


def run_own_tests(pattern: str, gpu: int | None, program: Path | None = None, timeout: float = 900) -> Result:
    """Run the test program (None: the installed one) with a gtest filter, for `timeout` seconds in all.

    A test that ends the program has failed; another process goes on with those that were not begun.
    """
    program = program or Path(importlib.util.find_spec("caffe").origin).parents[2] / "bin" / "test_layers"
    device = [] if gpu is None else [str(gpu)]
    end = time.monotonic() + timeout
    results, begun = [], []
    for _ in range(1 + RESTARTS):
        command = [str(program), f"--gtest_filter={without(pattern, begun)}", *device]
        out, err, code = _run(command, end - time.monotonic())
        results.append(read_result(out, err, code))
        now = _begun(out)
        begun += now
        if SUMMARY in out or not now or time.monotonic() >= end:
            break
    else:
        results.append(Result(0, (f"the rest, after {RESTARTS} restarts",), ""))
    return _together(results)


def without(pattern: str, tests: list[str]) -> str:
    """Return a gtest filter that leaves out `tests`: what follows its only hyphen is left out."""
    if not tests:
        return pattern
    return f"{pattern}{':' if '-' in pattern else '-'}{':'.join(tests)}"


def _run(command: list[str], timeout: float) -> tuple[str, str, int]:
    """Return what a command says on stdout and stderr, and its exit code: one that does not end is killed."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += "\nno end in the time for all tests"
    return out, err, process.returncode


def _together(results: list[Result]) -> Result:
    failed = tuple(name for result in results for name in result.failed)
    first = next((result for result in results if result.failed), results[-1])
    return Result(sum(result.passed for result in results), failed, first.last_line)


def _begun(stdout: str) -> list[str]:
    return re.findall(r"^\[ RUN      \] ([\w/]+\.\w+)", stdout, re.M)


def read_result(stdout: str, stderr: str, code: int) -> Result:
    """Read gtest's lines; a program that dies in a test has failed that test."""
    passed = re.findall(r"^\[       OK \] ", stdout, re.M)
    failed = re.findall(r"^\[  FAILED  \] ([\w/]+\.\w+)(?:, where .*| \(\d+ ms\))?$", stdout, re.M)
    begun = _begun(stdout)
    if SUMMARY not in stdout and begun:
        failed.append(begun[-1])
    if code and not failed:
        failed.append(f"exit code {code}")
    lines = (stderr.strip() or stdout.strip()).splitlines()
    fatal = (
        [line for line in lines if re.match(r"F\d{4,8} ", line)] or lines or [""]
    )  # glog puts a trace behind it
    return Result(len(passed), tuple(dict.fromkeys(failed)), fatal[-1])
