"""The command's answers: four prototxts, or one line, exit code 2 and nothing left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import children_seconds, refused

ROOT = Path(__file__).parents[2]
FILES = ["deploy.prototxt", "solver.prototxt", "train.prototxt"]
# Runs the command in a Python that has neither Caffe nor protobuf.
BARE = """
import runpy, sys
for name in ("caffe", "google.protobuf", "lmdb", "cv2", "numpy"):
    sys.modules[name] = None
sys.path.insert(0, "tools")
sys.argv = ["make_net.py", *sys.argv[1:]]
runpy.run_path("tools/make_net.py", run_name="__main__")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "name", sorted(path.parent.name for path in (ROOT / "solvers").glob("*/experiment.toml"))
)
def test_every_committed_experiment_is_written_as_four_files(run_tool, tmp_path, name):
    done = run_tool("make_net.py", name, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        str(tmp_path / "out" / f"{x}.prototxt") for x in ("train", "deploy", "solver")
    ]
    assert names(tmp_path / "out") == FILES
    assert f"tools/make_net.py {name}`" in (tmp_path / "out" / "train.prototxt").read_text()
    assert "solver_mode: GPU" in (tmp_path / "out" / "solver.prototxt").read_text()


def test_an_experiment_may_be_a_file_and_the_solver_for_a_cpu(run_tool, tmp_path):
    (tmp_path / "mine.toml").write_text((ROOT / "solvers" / "dfcnet_demo" / "experiment.toml").read_text())
    done = run_tool("make_net.py", "mine.toml", "--cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "solvers" / "mine") == FILES
    solver = (tmp_path / "solvers" / "mine" / "solver.prototxt").read_text()
    assert "solver_mode: CPU\n" in solver
    assert 'net: "solvers/mine/train.prototxt"\n' in solver
    assert (
        "# Emitted by `python tools/make_net.py mine.toml --cpu`;\n# change mine.toml, not this.\n" in solver
    )


def test_an_existing_folder_is_kept_without_overwrite(run_tool, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.prototxt").write_text("mine")
    arguments = ("make_net.py", "dfcnet_demo", "--out", tmp_path / "out")
    refused(run_tool(*arguments), tmp_path / "out", "exists already", "--overwrite")
    assert names(tmp_path / "out") == ["train.prototxt"]
    assert (tmp_path / "out" / "train.prototxt").read_text() == "mine"
    assert run_tool(*arguments, "--overwrite").returncode == 0
    assert names(tmp_path / "out") == FILES


def test_an_unknown_experiment_lists_the_known_ones(run_tool, tmp_path):
    done = run_tool("make_net.py", "dfcnett", "--out", tmp_path / "out")
    refused(done, "solvers/dfcnett/experiment.toml", "baseline, classmate, dfcnet", "name an experiment")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("crop = 129", "crop = 1000", ("crop 1000 is not 32k+1", "take 993 or 1025")),
        ("growth_rate", "grow_rate", ("unknown key densenet.grow_rate", "correct its spelling")),
        ("compression = 0.5", "compression = 0.01", ("conv2_blk", "0 channels", "raise compression")),
        ("batch_size = 8", "batch_size = 9", ("batch_size 9", "1 ranks x 2 tasks x 4 images_per_pass = 8")),
        ("[input]", "[input", ("is not TOML", "fix the file")),
    ],
)
def test_a_wrong_experiment_ends_in_one_line_and_leaves_nothing(run_tool, tmp_path, old, new, words):
    text = (ROOT / "solvers" / "dfcnet_demo" / "experiment.toml").read_text()
    assert text.count(old) == 1
    (tmp_path / "mine.toml").write_text(text.replace(old, new))
    refused(run_tool("make_net.py", tmp_path / "mine.toml", "--out", tmp_path / "out"), *words)
    assert names(tmp_path) == ["mine.toml"]


def test_an_output_below_a_file_ends_in_one_line(run_tool, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = run_tool("make_net.py", "dfcnet_demo", "--out", tmp_path / "file" / "out")
    refused(done, tmp_path / "file", "cannot be written", "another place")
    assert names(tmp_path) == ["file"]


def test_dfcnet_is_emitted_without_caffe_in_under_a_second(run_tool, tmp_path):
    took = []
    for number in range(3):
        began = children_seconds()
        command = [sys.executable, "-c", BARE, "dfcnet", "--out", str(tmp_path / str(number))]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        took.append(children_seconds() - began)
        assert done.returncode == 0, done.stderr
    assert min(took) < 1, took
    assert run_tool("make_net.py", "dfcnet", "--out", tmp_path / "with").returncode == 0
    for file in ("train.prototxt", "deploy.prototxt"):
        assert (tmp_path / "0" / file).read_text() == (tmp_path / "with" / file).read_text()


def test_help_says_what_an_experiment_is(run_tool):
    done = run_tool("make_net.py", "--help")
    assert done.returncode == 0
    assert "baseline, classmate, dfcnet" in done.stdout
