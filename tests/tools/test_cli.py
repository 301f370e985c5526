"""What all commands share: how they end."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT, refused

TOOL = """
import sys
sys.path.insert(0, "tools")
import cli
from common.errors import DataError

def main():
    {body}

cli.run(main)
"""


def without_a_reader(*command: object) -> subprocess.CompletedProcess:
    """Run a Python program whose stdout is a pipe that nobody reads, as that of `| head` comes to be."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        words = [sys.executable, *map(str, command)]
        buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
        return subprocess.run(
            words, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=buffered, check=False
        )
    finally:
        os.close(writing)


def test_a_command_whose_reader_has_gone_ends_without_a_word():
    done = without_a_reader("tools/make_net.py", "dfcnet_demo", "--summary")
    assert (done.returncode, done.stderr) == (141, "")


def test_much_to_say_and_nobody_to_read_it_ends_without_a_word():
    """More than stdout's buffer: the pipe breaks in the middle of the command."""
    done = without_a_reader("-c", TOOL.format(body="print('x' * 1_000_000)"))
    assert (done.returncode, done.stderr) == (141, "")


def test_a_mistake_is_told_though_nobody_reads_the_rest():
    done = without_a_reader(
        "-c", TOOL.format(body="print('x'); raise DataError('a.png', 'is odd', 'fix it')")
    )
    assert (done.returncode, done.stderr) == (2, "-c: a.png: is odd; fix it\n")


def test_our_own_bug_is_told_though_nobody_reads_the_rest():
    done = without_a_reader("-c", TOOL.format(body="print('x'); raise RuntimeError('of ours')"))
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: of ours\n")


def test_a_command_without_any_stdout_does_its_work():
    words = [sys.executable, "-c", TOOL.format(body="print('x')")]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *words], stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipe_that_breaks_elsewhere_is_no_quiet_end():
    body = "raise BrokenPipeError('of a worker')"
    done = subprocess.run(
        [sys.executable, "-c", TOOL.format(body=body)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert "BrokenPipeError: of a worker" in done.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "build_lmdb.py land --images a --out b --crop 513",
            "--crop: was an option of version 1.0; name",
        ),
        (
            "build_lmdb.py dfcnet land --images a --stretch 0 9",
            "--stretch: was an option of version 1.0",
        ),
        (
            "verify_data.py land a --mapping m.toml",
            "--mapping: was an option of version 1.0",
        ),
        ("evaluate.py --task road --truth a --pred b", "--task: was an option of version 1.0; leave it out"),
        ("figure.py compare --images a --truth a --pred b --task land --out c.png", "--task: was an option"),
        ("report.py runs/a --mapping m.toml", "--mapping: was an option of version 1.0"),
        (
            "predict.py --run nowhere --out maps a",
            "nowhere: is not a folder; give --run",
        ),
        (
            "verify_data.py solvers/dfcnet/experiment.toml a",
            "experiment.toml: is an experiment; name a data set",
        ),
        (
            "make_net.py datasets/deepglobe_land.toml",
            "deepglobe_land.toml: is a data set; name an experiment",
        ),
        ("study.py datasets/deepglobe_land.toml --cpu --data a --out b", "is a data set; name a study"),
        ("verify_data.py land a", "name a data set (deepglobe_land, deepglobe_road)"),
        (
            "make_net.py dfcnte --summary",
            "name an experiment (baseline, classmate, dfcnet, dfcnet_256, ",
        ),
    ],
)
def test_what_version_1_had_and_files_of_another_kind_are_refused_in_one_line(run_tool, command, words):
    name, *arguments = command.split()
    refused(run_tool(name, *arguments, cwd=ROOT), words)


def run(body: str, stdout: object = subprocess.PIPE) -> subprocess.CompletedProcess:
    words = [sys.executable, "-c", TOOL.format(body=body)]
    return subprocess.run(words, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("body", ["print('x' * 100_000)", "print('x')", "print('x'); sys.exit(0)"])
def test_a_stdout_on_a_full_disk_is_one_line(body):
    with open("/dev/full", "w") as full:
        done = run(body, full)
    assert done.returncode == 2
    assert done.stderr.startswith("-c: [Errno 28] No space left on device")
    assert done.stderr.count("\n") == 1


def test_what_the_machine_lacks_is_one_line_and_other_errors_of_the_system_are_bugs():
    done = run("raise OSError(28, 'No space left on device', 'a.bin')")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device: 'a.bin'" in done.stderr
    done = run(
        "import tempfile; tempfile.tempdir = None; tempfile._candidate_tempdir_list = list; "
        "tempfile.mkdtemp()"
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No usable temporary directory" in done.stderr
    done = run("raise PermissionError(13, 'Permission denied', 'b.bin')")
    assert done.stderr == (
        "-c: b.bin: cannot be used (Permission denied); check the path, its rights and its disk\n"
    )
    assert done.returncode == 2
    for bug in ("PermissionError(13, 'Permission denied')", "FileNotFoundError(2, 'No such file', 'b.bin')"):
        done = run(f"raise {bug}")
        assert done.returncode == 1
        assert "Traceback" in done.stderr


# Root may read everything, but not without these capabilities.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.mark.parametrize(
    "command",
    [
        "verify_data.py deepglobe_land shut",
        "verify_data.py deepglobe_land open --json shut/report.json",
        "split_data.py deepglobe_land open --train 1 --out shut/split.json",
        "split_data.py deepglobe_land shut --train 1 --out split.json",
        "evaluate.py --dataset deepglobe_land --truth shut --pred open",
        "make_net.py dfcnet --out shut/nets",
        "make_scenes.py --out shut/scenes --land 1 --road 1 --size 64",
    ],
)
def test_a_folder_that_may_not_be_looked_into_is_named(tmp_path, command):
    tool, *arguments = command.split()
    prefix = AS_ANYBODY if os.geteuid() == 0 else []
    if prefix and not shutil.which("setpriv"):
        pytest.skip("root reads everything, and there is no setpriv")
    (tmp_path / "open").mkdir()
    for id in ("1", "2"):
        for kind in ("sat", "mask"):
            (tmp_path / "open" / f"{id}_{kind}.png").write_bytes(b"broken")
    (tmp_path / "shut").mkdir(mode=0)
    words = [*prefix, sys.executable, ROOT / "tools" / tool, *arguments]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, cwd=tmp_path, check=False)
    refused(done, f"{tool}: ", "shut", "Permission denied", "; c")


@pytest.mark.parametrize(
    "command",
    [
        ["predict.py", "--run", "run", "--out", "", "scenes"],
        ["predict.py", "--run", "run", "--out", "maps", ""],
        ["figure.py", "compare", "--truth", "", "--out", "a.png"],
    ],
)
def test_an_empty_path_does_not_mean_this_folder(run_tool, tmp_path, command):
    done = run_tool(*command, cwd=tmp_path)
    assert done.returncode == 2
    assert "is empty; give a path" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    [
        "verify_data.py deepglobe_land . --json a.json --fix-list ./a.json",
        "evaluate.py --dataset deepglobe_land --truth . --pred . --json a.png --figure a.png",
    ],
)
def test_two_outputs_are_not_one_file(run_tool, tmp_path, command):
    refused(run_tool(*command.split(), cwd=tmp_path), "is given for two outputs; give each a file of its own")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "tool, arguments, words",
    [
        ("train.py", ["x.toml"], "one of the arguments --cpu --gpus is required"),
        ("build_lmdb.py", ["dfcnet", "land"], "required: --images"),
        ("figure.py", ["compare", "--out", "x.png"], "figure.py compare: "),
        (
            "predict.py",
            ["--run", "r", "--out", "m", "--bands", "1", "2", "scene.tif"],
            "files stand before an option that takes several values",
        ),
    ],
)
def test_wrong_arguments_are_named_in_one_line(run_tool, tool, arguments, words):
    done = run_tool(tool, *arguments)
    refused(done, words, "--help")
