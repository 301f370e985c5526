"""The command trains, or says in one line what to fix."""

import shlex
import subprocess
import sys

import cv2
import numpy as np
import pytest

from prototxt_gen.model_card import read_card
from tests.conftest import ROOT, refused
from training.pycaffe import import_caffe

pytestmark = pytest.mark.caffe


def test_it_trains_and_leaves_weights_with_their_card(tiny, tmp_path, run_tool):
    done = run_tool("train.py", tiny, "--cpu")
    assert done.returncode == 0, done.stderr
    assert "iteration 6/6  loss: land" in done.stdout
    folder = tmp_path / "runs" / "tiny"
    for name in ("weights.caffemodel", "weights.json", "deploy.prototxt", "log.jsonl", "caffe.log"):
        assert (folder / name).stat().st_size
    refused(run_tool("train.py", tiny, "--cpu"), "runs/tiny: exists already", "--overwrite")


def test_the_weights_of_a_snapshot_predict_as_they_were_trained_without_a_warning(tiny, tmp_path, run_tool):
    assert run_tool("train.py", tiny, "--cpu").returncode == 0
    run = tmp_path / "runs" / "tiny"
    weights = run / "snapshots" / "iter_00000004" / "weights.caffemodel"
    at_the_end = read_card(run / "weights.caffemodel")
    assert read_card(weights) == at_the_end.model_copy(update={"iteration": 4})
    cv2.imwrite(str(tmp_path / "7_sat.png"), np.full((20, 30, 3), 90, np.uint8))
    options = ["--deploy", run / "deploy.prototxt", "--weights", weights, "--out", tmp_path / "maps"]
    done = run_tool("predict.py", *options, tmp_path / "7_sat.png")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_headers_of_a_run_name_its_command_and_the_file_that_there_is(tiny, tmp_path, run_tool):
    """The command in the header emits the same net as the one that was trained."""
    settings = ["--set", "input.mirror=false", "--set", "solver.lr_policy='fixed'", "--dense-block", "fused"]
    done = run_tool("train.py", "tiny.toml", "--cpu", "--run", "run", *settings)
    assert done.returncode == 0, done.stderr
    for name in ("train", "deploy", "solver"):
        head = (tmp_path / "run" / f"{name}.prototxt").read_text().splitlines()[1:3]
        assert head[0].startswith("# Emitted by `python tools/train.py tiny.toml --set ")
        assert head[1] == "# change tiny.toml, not this."
        words = shlex.split(head[0].split("`")[1])
        assert words[2:] == ["tiny.toml", *settings, "--cpu"]
    assert run_tool("train.py", *words[2:], "--run", "again").returncode == 0
    nets = [(tmp_path / run / "train.prototxt").read_text() for run in ("run", "again")]
    assert nets[0] == nets[1]


def test_gpus_that_are_not_there_are_refused(tiny, tmp_path, run_tool):
    done = run_tool("train.py", tiny, "--gpus", "0-99")
    cuda = import_caffe().has_nccl()
    refused(done, f"--gpus: {'asks for GPU 99' if cuda else 'this Caffe was built for the CPU alone'}")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_key_is_named(tiny, tmp_path, run_tool):
    tiny.write_text(tiny.read_text() + "momentun = 0.9\n")
    refused(run_tool("train.py", tiny, "--cpu"), f"{tiny}: unknown key solver.momentun", "spelling")
    assert not (tmp_path / "runs").exists()


def test_a_missing_database_is_named(tiny, tmp_path, run_tool):
    tiny.write_text(tiny.read_text().replace('"land_lmdb"', '"nowhere"'))
    done = run_tool("train.py", tiny, "--cpu")
    refused(done, "nowhere: does not exist", "dfcnet build-lmdb EXPERIMENT land --images DIR")
    assert not (tmp_path / "runs").exists()


def test_broken_weights_are_named(tiny, tmp_path, run_tool):
    (tmp_path / "w.caffemodel").write_bytes(b"\xff" * 100)
    refused(
        run_tool("train.py", tiny, "--cpu", "--weights", "w.caffemodel"), "w.caffemodel: is not a .caffemodel"
    )
    assert not (tmp_path / "runs").exists()


def test_help_needs_neither_an_experiment_nor_caffe(run_tool):
    done = run_tool("train.py", "--help")
    assert done.returncode == 0
    assert "--gpus" in done.stdout


def test_a_training_goes_on_where_nobody_reads_what_it_says(tiny, tmp_path):
    """As after `| head`: what is read of the pipe ends at its first line."""
    command = [sys.executable, ROOT / "tools" / "train.py", tiny, "--cpu", "--run", "run"]
    words = " ".join(map(str, command))
    done = subprocess.run(
        ["bash", "-c", f"{words} | head -n 1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    first, code = done.stdout.splitlines()
    assert first.startswith("run: ")
    assert (code, done.stderr) == ("0", "")
    assert (tmp_path / "run" / "weights.caffemodel").exists()
