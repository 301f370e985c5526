"""Killed at any moment, the final path never holds a partial database, and the next run succeeds."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.inspection import check_database
from tests.conftest import HEED_CTRL_C

pytestmark = pytest.mark.caffe
TOOL = Path(__file__).parents[2] / "tools" / "build_lmdb.py"
KILLS = 20


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(4):
        mask = np.zeros((300, 300), np.uint8)
        mask[100:200] = 255
        cv2.imwrite(str(folder / f"{number}_sat.png"), rng.integers(0, 256, (300, 300, 3), np.uint8))
        cv2.imwrite(str(folder / f"{number}_mask.png"), mask)
    return folder


def start(images: Path, out: Path, seed: int, *more: object) -> subprocess.Popen:
    command = [*HEED_CTRL_C, sys.executable, TOOL, "dfcnet_demo", "road", "--images", images, "--out", out]
    command += ["--set", "input.crop=257", "--variants", 16, "--workers", 2, "--seed", seed, *more]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([str(word) for word in command], start_new_session=True, **quiet)


def members(session: int) -> list[int]:
    """Return the processes of a session that are still running."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def kill(process: subprocess.Popen, after: float) -> bool:
    """Kill a run after some seconds and wait until its workers have gone too; False if it had ended."""
    try:
        process.wait(after)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 10
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not members(process.pid)
    return True


def test_twenty_kills_leave_nothing_partial(images, tmp_path):
    draw = random.Random(5)
    begin = time.monotonic()
    assert start(images, tmp_path / "old", 0).wait() == 0
    length = time.monotonic() - begin
    first = (tmp_path / "old" / "data.mdb").read_bytes()
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        out = tmp_path / ("new" if kills % 2 else "old")  # a path that was free, and one to replace
        process = start(images, out, runs, "--overwrite", "--workers", 1 + kills // 2 % 2)
        moment = draw.uniform(0, length)
        if kill(process, moment):
            kills += 1
        else:
            length = 0.9 * moment  # the machine is faster now
        if out.exists():
            check_database(out)
        elif out.name == "old":  # killed between two renames: both lie beside it, whole
            [kept, *_] = [path for path in tmp_path.glob(".old.*") if (path / "manifest.json").exists()]
            os.replace(kept, out)
    for name in ("old", "new"):
        assert start(images, tmp_path / name, 0, "--overwrite").wait() == 0
        assert (tmp_path / name / "data.mdb").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_from_outside_cleans_up(images, tmp_path, number):
    process = start(images, tmp_path / "db", 0)
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob(".db.*/data.mdb")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(20) == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert list(tmp_path.iterdir()) == []
    deadline = time.monotonic() + 10
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not members(process.pid)
