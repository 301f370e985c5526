"""The command: what it finds on this machine, and what it refuses."""

from pathlib import Path

import pytest

from gpu_check import libraries, parity
from gpu_check.deadline import Deadline
from gpu_check.isolation import run_isolated
from gpu_check.parity_checks import reference, reference_cases
from gpu_check.target import Target
from tests.conftest import refused

LONG = 280  # seconds: within a test's time


@pytest.mark.caffe
def test_the_libraries_are_found_and_named():
    paths = run_isolated(libraries.loaded, timeout=LONG)
    assert any(Path(path).name.startswith("libcaffe") for path in paths.values())
    assert "NumPy" in run_isolated(libraries.versions, timeout=LONG)
    assert libraries.missing(LONG) == []


@pytest.mark.caffe
def test_references_are_prepared_once_and_then_used(tmp_path, monkeypatch):
    target = Target(tmp_path, 0, quick=True, references=tmp_path / "kept")
    first = reference_cases(target)[0]
    answer = reference(target, first, Deadline(LONG))
    monkeypatch.setattr(parity, "net_answer", None)
    again = reference(target, first, Deadline(LONG))
    assert parity.compare(again.gradients, answer.gradients).value == 0


@pytest.mark.caffe
def test_a_machine_without_a_gpu_gets_one_line_and_exit_code_2(run_tool, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run_tool("gpu_check.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gpu_check.py: this machine: shows no NVIDIA GPU")
    assert done.stderr.count("\n") == 1


@pytest.mark.caffe
def test_a_check_that_is_not_known_is_refused_with_the_names_of_all(run_tool):
    done = run_tool("gpu_check.py", "--cpu", "--only", "speed")
    refused(done, "--only: 'speed' is not a check; choose from: libraries; our layers' own tests; layers;")
