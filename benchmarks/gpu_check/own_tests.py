"""Caffe's own tests in C++ of the layers that our nets are made of, on a GPU."""

import importlib.util
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Caffe's typed tests: /0 and /1 are float and double on the CPU, /2 and /3 on a GPU; the others are named so.
ON_GPU = "*/2.*:*/3.*:*GPU*:*CuDNN*:*NCCL*"
ON_CPU = "*/0.*:*/1.*-*GPU*:*CuDNN*:*NCCL*"


@dataclass(frozen=True)
class Result:
    """How many tests passed, and the names of those that did not."""

    passed: int
    failed: tuple[str, ...]
    last_line: str


def run_own_tests(pattern: str, gpu: int | None, timeout: float = 900) -> Result:
    """Run the installed test program with a gtest filter."""
    program = Path(importlib.util.find_spec("caffe").origin).parents[2] / "bin" / "test_layers"
    command = [str(program), f"--gtest_filter={pattern}", *([] if gpu is None else [str(gpu)])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return Result(0, (f"no end after {timeout:g} s",), "")
    return read_result(done.stdout, done.stderr, done.returncode)


def read_result(stdout: str, stderr: str, code: int) -> Result:
    """Read gtest's summary; a program that dies in a test has failed that test."""
    passed = re.search(r"\[  PASSED  \] (\d+) tests?", stdout)
    failed = re.findall(r"^\[  FAILED  \] ([\w/]+\.\w+)(?:, where .*)?$", stdout, re.M)
    begun = re.findall(r"^\[ RUN      \] ([\w/]+\.\w+)", stdout, re.M)
    if not passed and begun:
        failed.append(begun[-1])
    if code and not failed:
        failed.append(f"exit code {code}")
    lines = (stderr.strip() or stdout.strip()).splitlines()
    return Result(int(passed[1]) if passed else 0, tuple(dict.fromkeys(failed)), lines[-1] if lines else "")
