"""predict.py gives the same maps with every backend."""

import cv2
import numpy as np
import pytest
import rasterio

from inference.backends import BACKENDS, ONNXRUNTIME, OPENVINO
from prototxt_gen.emit import net_text
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, build
from tests.conftest import refused
from tests.datasets import ROAD, read_map
from tests.prototxt_gen.random_net import write_random_net

pytestmark = pytest.mark.caffe


@pytest.fixture
def arguments(tiny, tmp_path):
    deploy, weights = write_random_net(tmp_path, read_experiment(tiny))
    scene = np.random.default_rng(1).integers(0, 256, (150, 97, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "7_sat.png"), scene)
    return ["--deploy", deploy, "--weights", weights, "--task", "road", "--tile", 65, tmp_path / "7_sat.png"]


@pytest.mark.parametrize("backend", [ONNXRUNTIME, OPENVINO])
def test_maps_are_those_of_caffe(arguments, tmp_path, run_tool, backend):
    pytest.importorskip(backend, reason="an extra of pyproject.toml that is not installed")
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    labels = []
    for name in ("caffe", backend):
        options = ["--out", tmp_path / name, "--backend", name, "--flip", "--batch", 2, "--threads", 1]
        done = run_tool("predict.py", *arguments, *options)
        assert (done.returncode, done.stderr) == (0, "")
        labels.append(read_map(tmp_path / name / "7_mask.png", ROAD))
    assert 0.2 < np.mean(labels[0] == 1) < 0.8
    assert np.mean(labels[0] == labels[1]) > 0.999


def test_bfloat16_maps_fused_nets_nearly_alike_and_refuses_plain_ones(tiny, tmp_path, run_tool):
    from training.pycaffe import import_caffe

    wide = ["densenet.growth_rate=8", "densenet.up_channels=16", "fusion.channels=16", "head_channels=16"]
    plain, weights = write_random_net(tmp_path, read_experiment(tiny, wide))
    fused = read_experiment(tiny, [*wide, "densenet.dense_block='fused'"])
    deploy = tmp_path / "fused.prototxt"
    deploy.write_text(net_text(build(fused, DEPLOY), ["x"]))
    cv2.imwrite(
        str(tmp_path / "7_sat.png"), np.random.default_rng(1).integers(0, 256, (150, 97, 3), np.uint8)
    )
    options = ["--deploy", deploy, "--weights", weights, "--tile", 65, tmp_path / "7_sat.png"]
    caffe = import_caffe()
    has_bf16 = caffe.set_prediction_bf16(True)
    caffe.set_prediction_bf16(False)
    maps = []
    for name in ("caffe", "caffe-bf16"):
        done = run_tool(
            "predict.py", *options, "--out", tmp_path / name, "--backend", name, "--probabilities"
        )
        if name == "caffe-bf16" and not has_bf16:
            refused(done, deploy, "bfloat16 needs a CPU", "--backend caffe")
            return
        assert (done.returncode, done.stderr) == (0, "")
        with rasterio.open(tmp_path / name / "7_probabilities.tif") as raster:
            maps.append(raster.read().astype(float) / 254)
    assert 0 < np.abs(maps[0] - maps[1]).max() < 0.1
    assert np.mean(maps[0].argmax(axis=0) == maps[1].argmax(axis=0)) > 0.95
    again = run_tool(
        "predict.py", *options, "--out", tmp_path / "caffe", "--backend", "caffe-bf16", "--probabilities"
    )
    refused(again, "engine None, now it is caffe-bf16", "--overwrite")
    options[1] = plain
    done = run_tool("predict.py", *options, "--out", tmp_path / "x", "--backend", "caffe-bf16")
    refused(done, plain, "has no fused layers", "--dense-block fused")


def test_the_help_names_all_backends(run_tool, tmp_path, arguments):
    assert set(BACKENDS) == {"caffe", "caffe-bf16", "onnxruntime", "openvino"}
    assert "{" + ",".join(BACKENDS) + "}" in run_tool("predict.py", "--help").stdout
    done = run_tool("predict.py", *arguments, "--out", tmp_path / "maps", "--backend", "abacus")
    assert done.returncode == 2
    assert "abacus" in done.stderr


def test_a_backend_that_is_not_installed_is_one_line(run_tool, tmp_path, arguments, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['onnxruntime'] = None")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    options = ["--out", tmp_path / "maps", "--backend", "onnxruntime"]
    done = run_tool("predict.py", *arguments, *options)
    refused(done, "onnxruntime: is not installed", "requirements/locked.txt")
