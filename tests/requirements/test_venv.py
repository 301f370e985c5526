"""requirements/venv.sh, with a stand-in of pip: what it refuses, how an interrupted call is made up for."""

import os
import shutil
from pathlib import Path

import pytest

from tests.stand_ins import run, stand_in

ROOT = Path(__file__).parents[2]

# The distribution's Python: -c gives its path and version, -m venv makes an environment with $STAND_IN_PIP.
PYTHON = """
case $1 in
-c) echo "$0 ${STAND_IN_VERSION:-3.13}" ;;
-m)
    mkdir -p "$4/bin"
    printf '#!/bin/sh\\necho "$@" >>"%s"\\n%s\\n' "$0.calls" "$STAND_IN_PIP" >"$4/bin/python"
    chmod +x "$4/bin/python"
    ;;
esac
"""
GOOD, BAD = "exit 0", "echo Collecting; echo ERROR: Read timed out.; exit 1"


@pytest.fixture
def checkout(tmp_path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "requirements").mkdir(parents=True)
    for name in ("venv.sh", "locked.txt"):
        shutil.copy(ROOT / "requirements" / name, folder / "requirements")
    stand_in(folder / "native", **{"packages.sh": ""})
    stand_in(tmp_path / "bin", python3=PYTHON, dpkg_query="[ -z $STAND_IN_FOREIGN ]")
    return folder


def make(checkout: Path, **environment: str):
    commands = checkout.parent / "bin"
    environment = {"PYTHON3": str(commands / "python3"), "STAND_IN_PIP": GOOD, **environment}
    return run(checkout / "requirements" / "venv.sh", path=commands, **environment)


def refused(done, code: int, *words: str) -> None:
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert done.stderr.startswith("venv: ")
    for word in words:
        assert word in done.stderr


def test_it_is_made_once_of_the_locked_packages_by_checksum(checkout):
    assert make(checkout).stdout == "venv: installing requirements/locked.txt into .venv, some minutes\n"
    pip = (checkout.parent / "bin" / "python3.calls").read_text()
    assert f"--require-hashes -r {checkout}/requirements/locked.txt\n" in pip
    done = make(checkout)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    os.utime(checkout / "requirements" / "locked.txt", (2e9, 2e9))  # as Git may
    assert make(checkout).stdout == ""
    (checkout / "requirements" / "locked.txt").write_text("# Others.\n")
    assert "installing" in make(checkout).stdout


def test_an_environment_has_the_command_of_the_project_also_one_that_was_made_without(checkout):
    make(checkout)
    command = checkout / ".venv" / "bin" / "dfcnet"
    command.unlink()
    assert (make(checkout).stdout, command.stat().st_mode & 0o777) == ("", 0o755)
    run(command, "train", "--cpu")
    calls = (checkout.parent / "bin" / "python3.calls").read_text().splitlines()
    assert calls[-1].endswith("/tools/dfcnet.py train --cpu")


def test_an_index_that_does_not_answer_is_said_in_a_line_and_the_next_call_goes_on(checkout):
    refused(make(checkout, STAND_IN_PIP=BAD), 1, "pip: ERROR: Read timed out.", "pip.log")
    assert not (checkout / ".venv" / ".ready").exists()
    assert make(checkout).returncode == 0
    assert (checkout / ".venv" / ".ready").exists()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PYTHON3": "/no/python3"}, ("PYTHON3='/no/python3': does not run", "leave PYTHON3 unset")),
        ({"STAND_IN_FOREIGN": "yes"}, ("is not the distribution's own Python", "leave PYTHON3 unset")),
        ({"STAND_IN_VERSION": "3.10"}, ("is Python 3.10; 3.11 or newer is needed",)),
    ],
)
def test_a_python_that_would_not_do_is_refused_before_anything_is_made(checkout, environment, words):
    refused(make(checkout, **environment), 2, *words)
    assert not (checkout / ".venv" / "bin").exists()


def test_too_small_a_disk_is_refused_before_anything_is_made(checkout):
    stand_in(checkout.parent / "bin", df="echo Avail; echo 12MB")
    refused(make(checkout), 1, f"{checkout}/.venv: 12 MB are free there, 1500 are needed")
    assert not (checkout / ".venv" / "bin").exists()


def test_a_cpu_that_numpys_wheels_do_not_run_on_is_refused(checkout):
    stand_in(checkout.parent / "bin", uname="echo x86_64", lscpu="echo Flags: fpu sse sse2 sse4_1")
    refused(make(checkout), 2, "this CPU has no SSE 4.2")
    stand_in(checkout.parent / "bin", lscpu="echo Flags: fpu sse sse2 sse4_1 sse4_2")
    assert make(checkout).returncode == 0
