"""`dfcnet COMMAND` is `python tools/COMMAND.py`."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
COMMANDS = sorted(
    path.stem
    for path in (ROOT / "tools").glob("*.py")
    if "parse_arguments()" in path.read_text(encoding="utf-8")
)


def dfcnet(*words: object, folder=None) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "tools" / "dfcnet.py", *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder, check=False)


def test_every_command_is_listed_with_what_it_does():
    done = dfcnet("--help")
    listed = dict(re.findall(r"^  ([a-z-]+)  +(\S.*)$", done.stdout.partition("commands:")[2], re.M))
    assert list(listed) == [name.replace("_", "-") for name in COMMANDS]
    assert listed["train"].startswith("Train an experiment")
    assert (done.returncode, dfcnet().stdout) == (0, done.stdout)


@pytest.mark.parametrize("words", [["--version"], ["split-data", "--version"], ["make_net", "--version"]])
def test_the_version_is_that_of_the_project(words):
    done = dfcnet(*words)
    assert (done.returncode, done.stdout) == (0, f"dfcnet-caffe {VERSION}\n")
    assert f"\n## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f'image.version="{VERSION}"' in (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")


def test_options_go_to_the_command_and_files_are_those_of_its_script(tmp_path, run_tool):
    done = dfcnet("make-net", "dfcnet_demo", "--cpu", "--out", "nets", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    run_tool("make_net.py", "dfcnet_demo", "--cpu", "--out", tmp_path / "by_script")
    for path in (tmp_path / "nets").glob("*.prototxt"):
        other = (tmp_path / "by_script" / path.name).read_text()
        assert path.read_text() == other.replace(f"{tmp_path}/by_script", "nets")


@pytest.mark.parametrize("name", ["dfcnet", *COMMANDS])
def test_a_command_runs_where_python_leaves_its_folder_out(name, tmp_path):
    command = [sys.executable, ROOT / "tools" / f"{name}.py", "--version"]
    safe = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=safe, check=False)
    assert (done.returncode, done.stdout) == (0, f"dfcnet-caffe {VERSION}\n"), done.stderr


@pytest.mark.parametrize("name", ["sing", "cli", "data-options", "dfcnet", "../docker/smoke"])
def test_what_is_not_a_command_is_refused_in_a_line(name):
    done = dfcnet(name)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        f"dfcnet: no command {name}; --help lists them\n",
    )


def test_a_mistake_ends_as_in_the_script():
    done = dfcnet("split-data", "no_such_set", ".", "--out", "x.json")
    assert done.returncode == 2
    assert done.stderr.startswith("split_data.py: ")
    assert done.stderr.count("\n") == 1


def test_a_room_with_a_commands_name_is_found():
    """tools/gpu_check.py imports the package gpu_check before it can name the checks."""
    done = dfcnet("gpu-check", "--cpu", "--only", "nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith("gpu_check.py: --only: 'nonsense' is not a check; choose from: ")
