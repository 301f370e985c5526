"""Whatever write, sync or rename fails, what was whole stays whole, and the next call goes on.

Of each command the k-th call of each kind fails with a full disk or a bad one, or ends the process. An older
output lies there, which is to be replaced.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.caffe,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler, as in an image"),
]
HERE = Path(__file__).parent
ALL = 10**6
TABLE = ("scores and reports", "training log", "LMDB")


def run(work: Path, most: int, *commands: str) -> dict[str, dict[str, int]]:
    """Return how often came what of trials of commands, at most so many calls of each kind."""
    library = work / "faults.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, HERE / "faults.c", "-ldl"], check=True)
    command = [sys.executable, HERE / "faulty.py", work / "trials", str(most), *commands]
    surroundings = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        command, capture_output=True, text=True, env=surroundings, cwd=HERE.parents[1], check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(outcomes: dict[str, dict[str, int]]) -> None:
    for name, came in outcomes.items():
        print(f"{name}: {came}")
        assert not [words for words in came if "FAULT" in words], f"{name}: {came}"
        assert came["named in one line"] > 0
        assert came["killed"] > 0


def test_the_first_and_the_last_call_that_fail_lose_nothing(tmp_path):
    check(run(tmp_path, 2, "scores and reports", "training log"))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", TABLE)
def test_no_call_that_fails_loses_anything(tmp_path, command):
    check(run(tmp_path, ALL, command))
