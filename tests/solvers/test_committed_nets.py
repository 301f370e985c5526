"""The prototxts of the paper's experiments are those that the generator emits today."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from prototxt_gen.emit import write_nets
from prototxt_gen.experiment import read_experiment

ROOT = Path(__file__).parents[2]
FILES = ("train.prototxt", "deploy.prototxt", "solver.prototxt")


@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_they_are_emitted_byte_for_byte(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    written = write_nets(
        read_experiment(ROOT / "solvers" / name / "experiment.toml"), Path("solvers", name), False
    )
    assert [path.name for path in written] == list(FILES)
    for path in written:
        committed = ROOT / "solvers" / name / path.name
        assert path.read_bytes() == committed.read_bytes(), f"{committed} is not up to date: run `make nets`"


@pytest.mark.caffe
@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_plain_caffe_train_takes_them_from_the_root(tmp_path, name):
    """Up to the databases, which a folder with the same solvers/ lacks: training at 1025 fits no test."""
    (tmp_path / "solvers").symlink_to(ROOT / "solvers")
    text = (ROOT / "solvers" / name / "solver.prototxt").read_text()
    (tmp_path / "runs").mkdir()
    (tmp_path / "solver.prototxt").write_text(text.replace("solver_mode: GPU", "solver_mode: CPU"))
    tool = Path(importlib.util.find_spec("caffe").origin).parents[2] / "bin" / "caffe"
    done = subprocess.run(
        [tool, "train", "-solver", "solver.prototxt"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "GLOG_minloglevel": "0", "GLOG_log_dir": str(tmp_path)},
        check=False,
    )
    assert f"Creating training net from net file: solvers/{name}/train.prototxt" in done.stderr
    assert "Creating layer land_data" in done.stderr
    assert "No such file or directory" in done.stderr.split("Check failed")[1]
