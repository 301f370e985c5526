"""The results tell on what kind of machine they were measured, and of no one machine."""

import importlib
import json
import os
import platform
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_machine_is_described_by_its_kind(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    described = importlib.import_module("machine").describe_machine()
    assert set(described) == {"cpu", "cores", "memory_gb", "system"}
    assert described["cores"] == len(os.sched_getaffinity(0))
    assert described["memory_gb"] > 0.1
    if Path("/etc/os-release").exists():
        assert described["system"] in Path("/etc/os-release").read_text()
    assert platform.release() not in json.dumps(described)  # the kernel's


@pytest.mark.parametrize("path", BENCHMARKS.glob("results/*.json"), ids=lambda path: path.stem)
def test_committed_results_name_no_kernel(path):
    hardware = json.loads(path.read_text())["hardware"]
    assert set(hardware) <= {"cpu", "cores", "memory_gb", "system"}
    assert not hardware.get("system", "").startswith("Linux-")
