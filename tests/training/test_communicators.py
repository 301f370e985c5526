"""How ranks share a machine."""

import os

import pytest

from training.communicators import busy_hint


@pytest.mark.parametrize(
    ("load", "threads", "hinted"),
    [(4.1, None, True), (4.0, None, False), (9.0, "4", True), (9.0, "1", False)],
)
def test_a_machine_with_more_work_than_cores_is_said(monkeypatch, load, threads, hinted):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    line = f"load {load} on 2 cores: OMP_NUM_THREADS=1 may be several times quicker here"
    assert busy_hint() == (line if hinted else None)
