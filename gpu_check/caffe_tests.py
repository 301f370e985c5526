"""Caffe's own tests in C++ of the layers that our nets are made of, on a GPU."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from gpu_check.deadline import Deadline
from gpu_check.isolation import NO_END, run_command
from training.pycaffe import last_words

# Caffe's typed tests: /0 and /1 are float and double on the CPU, /2 and /3 on a GPU; the others are named so.
ON_GPU = "*/2.*:*/3.*:*GPU*:*CuDNN*:*NCCL*"
ON_CPU = "*/0.*:*/1.*-*GPU*:*CuDNN*:*NCCL*"
# Ours, by the names of the test cases; numerical gradients take thousands of passes.
OURS = ("Fused*", "InterpLayerTest")
SLOW = "*Gradient*"
RESTARTS = 20
SUMMARY = "[  PASSED  ]"  # gtest's, where the program has ended by itself


@dataclass(frozen=True)
class SuiteResult:
    """How many tests passed, and the names of those that did not."""

    passed: int
    failed: tuple[str, ...]
    last_line: str

    @property
    def ok(self) -> bool:
        """Return whether there were tests, and all passed."""
        return self.passed > 0 and not self.failed

    def __str__(self) -> str:
        """Return it in a line."""
        words = f"{self.passed} passed"
        if self.failed:
            words += f", {len(self.failed)} failed: {' '.join(self.failed[:5])}; {self.last_line}"
        return words


def test_program() -> Path:
    """Return the installed test program."""
    return Path(importlib.util.find_spec("caffe").origin).parents[2] / "bin" / "test_layers"


def ours(on_gpu: bool) -> str:
    """Return the gtest filter of our layers' tests, but those that take long."""
    numbers = (2, 3) if on_gpu else (0, 1)
    return ":".join(f"{name}/{number}.*" for name in OURS for number in numbers) + f"-{SLOW}"


def run_caffe_tests(
    pattern: str,
    gpu: int | None,
    deadline: Deadline,
    program: Path | None = None,
    environment: dict[str, str] | None = None,
) -> SuiteResult:
    """Run the test program (None: the installed one) with a gtest filter until the deadline.

    A test that ends the program has failed; another process goes on with those that were not begun.
    """
    program = program or test_program()
    device = [] if gpu is None else [str(gpu)]
    results, started = [], []
    for _ in range(1 + RESTARTS):
        command = [program, f"--gtest_filter={without(pattern, started)}", *device]
        out, err, code = run_command(command, deadline.left(), environment)
        results.append(read_result(out, err, code))
        newly_started = _started(out)
        started += newly_started
        if SUMMARY in out or not newly_started or err.endswith(NO_END):
            break
    else:
        results.append(SuiteResult(0, (f"the rest, after {RESTARTS} restarts",), ""))
    return _together(results)


def without(pattern: str, tests: list[str]) -> str:
    """Return a gtest filter that leaves out `tests`: what follows its only hyphen is left out."""
    if not tests:
        return pattern
    return f"{pattern}{':' if '-' in pattern else '-'}{':'.join(tests)}"


def _together(results: list[SuiteResult]) -> SuiteResult:
    failed = tuple(name for result in results for name in result.failed)
    first = next((result for result in results if result.failed), results[-1])
    return SuiteResult(sum(result.passed for result in results), failed, first.last_line)


def _started(stdout: str) -> list[str]:
    return re.findall(r"^\[ RUN      \] ([\w/]+\.\w+)", stdout, re.M)


def read_result(stdout: str, stderr: str, code: int) -> SuiteResult:
    """Read gtest's lines; a program that dies in a test has failed that test."""
    passed = re.findall(r"^\[       OK \] ", stdout, re.M)
    failed = re.findall(r"^\[  FAILED  \] ([\w/]+\.\w+)(?:, where .*| \(\d+ ms\))?$", stdout, re.M)
    started = _started(stdout)
    if SUMMARY not in stdout and started:
        failed.append(started[-1])
    if code and not failed:
        failed.append(f"exit code {code}")
    return SuiteResult(len(passed), tuple(dict.fromkeys(failed)), last_words(stderr.strip() or stdout))
