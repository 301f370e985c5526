"""predict.py gives the same maps with every engine."""

import cv2
import numpy as np
import pytest

from data_prep.classes import TASKS
from inference.engines import ENGINES, OTHERS
from inference.masks import read_labels
from prototxt_gen.experiment import read_experiment
from tests.conftest import refused
from tests.prototxt_gen.random_net import write_random_net

pytestmark = pytest.mark.caffe


@pytest.fixture
def arguments(tiny, tmp_path):
    deploy, weights = write_random_net(tmp_path, read_experiment(tiny))
    scene = np.random.default_rng(1).integers(0, 256, (150, 97, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "7_sat.png"), scene)
    return ["--deploy", deploy, "--weights", weights, "--task", "road", "--tile", 65, tmp_path / "7_sat.png"]


@pytest.mark.parametrize("engine", OTHERS)
def test_maps_are_those_of_caffe(arguments, tmp_path, run_tool, engine):
    pytest.importorskip(engine, reason="an extra of pyproject.toml that is not installed")
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    labels = []
    for name in ("caffe", engine):
        options = ["--out", tmp_path / name, "--engine", name, "--flip", "--batch", 2, "--threads", 1]
        done = run_tool("predict.py", *arguments, *options)
        assert (done.returncode, done.stderr) == (0, "")
        labels.append(read_labels(tmp_path / name / "7_mask.png", TASKS["road"]))
    assert 0.2 < np.mean(labels[0] == 1) < 0.8
    assert np.mean(labels[0] == labels[1]) > 0.999


def test_the_help_names_all_engines(run_tool, tmp_path, arguments):
    assert "{" + ",".join(ENGINES) + "}" in run_tool("predict.py", "--help").stdout
    done = run_tool("predict.py", *arguments, "--out", tmp_path / "maps", "--engine", "abacus")
    assert done.returncode == 2
    assert "abacus" in done.stderr


def test_an_engine_that_is_not_installed_is_one_line(run_tool, tmp_path, arguments, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError('none', name='onnxruntime')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    options = ["--out", tmp_path / "maps", "--engine", "onnxruntime"]
    done = run_tool("predict.py", *arguments, *options)
    refused(done, "onnxruntime: is not installed", "requirements.py onnx")
