"""The command writes a model, compares it with Caffe, and leaves nothing where it refuses."""

import re

import numpy as np
import pytest

from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.experiment import read_experiment
from prototxt_gen.model_card import read_card, write_card
from tests.conftest import refused
from tests.prototxt_gen.random_net import write_random_net

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytestmark = pytest.mark.caffe


@pytest.fixture
def options(tiny, tmp_path):
    deploy, weights = write_random_net(tmp_path, read_experiment(tiny, ["input.crop=65"]))
    return ["--deploy", deploy, "--weights", weights, "--out", tmp_path / "net.onnx"]


def test_check_prints_the_largest_difference_of_all_tiles(options, run_tool):
    done = run_tool("export_onnx.py", *options, "--check")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    differences = [float(line.rpartition(" ")[2]) for line in lines[1:-1]]
    assert len(differences) == 2 * 7  # tasks, tiles
    largest = re.fullmatch(r"largest difference from Caffe (\S+), allowed 1e-04", lines[-1])
    assert float(largest[1]) == max(differences) <= 1e-4
    for words in ("land_prob, black tile of 65", "road_prob, two random tiles of 33"):
        assert any(words in line for line in lines)


def test_check_finds_a_model_that_answers_otherwise(options, run_tool, monkeypatch):
    """Let Caffe read other weights than those exported."""
    from inference import onnx_check

    assert run_tool("export_onnx.py", *options).returncode == 0
    weights = options[3]
    changed = read_caffemodel(weights)
    changed["land/score"][1][0] += 1  # a bias
    card = read_card(weights)
    write_caffemodel(weights, "net", changed, overwrite=True)
    write_card(weights, card)
    found = dict(onnx_check.compare(options[5], options[1], weights, None))
    assert min(value for name, value in found.items() if "land" in name) > onnx_check.TOLERANCE
    assert max(value for name, value in found.items() if "road" in name) < onnx_check.TOLERANCE


def test_one_task_alone(options, run_tool):
    done = run_tool("export_onnx.py", *options, "--task", "road", "--check", "--tile", 33)
    assert done.returncode == 0, done.stderr
    assert [output.name for output in onnx.load(str(options[-1])).graph.output] == ["road_prob"]
    assert "land" not in done.stdout


def test_mistakes_are_one_line_and_leave_no_model(options, run_tool, tmp_path):
    refused(run_tool("export_onnx.py", *options, "--check", "--tile", 64), "tile side 64 is not 32k+1")
    weights = read_caffemodel(options[3])
    weights["conv1"][0] = np.zeros((5, 3, 7, 7), np.float32)
    write_caffemodel(tmp_path / "bad.caffemodel", "net", weights)
    done = run_tool("export_onnx.py", *options[:3], tmp_path / "bad.caffemodel", *options[4:])
    refused(done, "bad.caffemodel: layer conv1 has the shapes 5x3x7x7, the net 4x3x7x7")
    assert not options[-1].exists()
    options[-1].write_text("mine")
    refused(run_tool("export_onnx.py", *options), "net.onnx: exists already")
    assert options[-1].read_text() == "mine"


def test_check_without_onnxruntime_is_refused_before_anything_is_written(
    options, run_tool, tmp_path, monkeypatch
):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['onnxruntime'] = None")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run_tool("export_onnx.py", *options, "--check")
    refused(done, "onnxruntime: is not installed", "requirements/locked.txt")
    assert not options[-1].exists()
    assert run_tool("export_onnx.py", *options).returncode == 0


def test_weights_without_a_card_are_exported_with_a_word(options, run_tool):
    options[3].with_suffix(".json").unlink()
    done = run_tool("export_onnx.py", *options, "--check")
    assert done.returncode == 0, done.stderr
    assert "w.caffemodel has no model card: the model does not say how to scale its input" in done.stdout
