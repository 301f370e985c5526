"""Convolutions by oneDNN: nets answer and learn as with Caffe's own engine; threads are those asked for."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prototxt_gen.emit import net_text
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, build

pytestmark = pytest.mark.caffe
ROOT = Path(__file__).parents[2]
THREADS = """
import ctypes
from training.pycaffe import import_caffe
import_caffe()
print(ctypes.CDLL("libgomp.so.1").omp_get_max_threads())
"""


@pytest.fixture
def caffe():
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    caffe.set_mode_cpu()
    return caffe


def plain_net() -> str:
    """Return a narrow DFCNet in plain layers: every kind of convolution that the paper's has."""
    narrow = [
        "densenet.growth_rate=16",
        "densenet.bottleneck=32",
        "densenet.stem_channels=16",
        "densenet.encoder_units=[2,2,2,2]",
        "densenet.decoder_units=[2,2,2,2]",
        "densenet.up_channels=32",
        "fusion.channels=32",
        "head_channels=32",
    ]
    exp = read_experiment(ROOT / "solvers" / "dfcnet" / "experiment.toml", narrow)
    return net_text(build(exp, DEPLOY, crop=129), ["x"])


def both_engines(caffe, folder: Path, phase: int):
    """Return the net by default and by Caffe's own engine, with the same weights and image.

    ELU stands in for ReLU, whose slope jumps at 0: there the last bit of a feature would decide.
    """
    text = plain_net().replace('type: "ReLU"', 'type: "ELU"')
    nets = []
    for name, engine in (("default", ""), ("caffe", " engine: CAFFE")):
        path = folder / f"{name}.prototxt"
        path.write_text(
            "force_backward: true\n"
            + text.replace("convolution_param {", "convolution_param {" + engine).replace(
                "use_global_stats: true", ""
            )
        )
        nets.append(caffe.Net(str(path), phase))
    rng = np.random.default_rng(4)
    image = rng.normal(size=nets[0].blobs["data"].data.shape)
    for name, blobs in nets[0].params.items():
        for number, blob in enumerate(blobs):
            if blob.data.ndim == 4:
                blob.data[...] = rng.normal(size=blob.data.shape) / np.sqrt(np.prod(blob.data.shape[1:]))
            else:  # statistics, counts, scales, biases
                blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)
            nets[1].params[name][number].data[...] = blob.data
    for net in nets:
        net.blobs["data"].data[...] = image
    return nets


def error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_a_plain_net_predicts_the_same_with_both_engines(tmp_path, caffe):
    """At TEST 3x3 convolutions go through Winograd, which rounds more: 1e-5 of the largest score."""
    default, own = both_engines(caffe, tmp_path, caffe.TEST)
    default.forward(), own.forward()
    scores = [name for name in own.blobs if name.endswith("score")]
    assert scores
    for name in scores:
        assert error(default.blobs[name].data, own.blobs[name].data) < 1e-5, name


def test_a_plain_net_learns_the_same_with_both_engines(tmp_path, caffe):
    nets = both_engines(caffe, tmp_path, caffe.TRAIN)
    rng = np.random.default_rng(6)
    for net in nets:
        net.forward()
    gradients = {name: rng.normal(size=net.blobs[name].data.shape) for name in nets[0].outputs}
    for net in nets:
        for name, gradient in gradients.items():
            net.blobs[name].diff[...] = gradient
        net.backward()
    default, own = nets
    for name in own.outputs:
        assert error(default.blobs[name].data, own.blobs[name].data) < 1e-5, name
    assert error(default.blobs["data"].diff, own.blobs["data"].diff) < 3e-4
    for name, blobs in own.params.items():
        if not name.endswith("/bn"):
            for ours, theirs in zip(default.params[name], blobs, strict=True):
                assert error(ours.diff, theirs.diff) < 3e-4, name


def test_passes_of_a_net_repeat_to_the_bit(tmp_path, caffe):
    net, _ = both_engines(caffe, tmp_path, caffe.TRAIN)
    gradients = []
    for _ in range(4):
        net.clear_param_diffs()
        net.forward()
        for name in net.outputs:
            net.blobs[name].diff[...] = net.blobs[name].data
        net.backward()
        gradients.append([blob.diff.tobytes() for blobs in net.params.values() for blob in blobs])
    assert all(later == gradients[0] for later in gradients)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OPENBLAS_NUM_THREADS": "5"}, 5),
        ({"OPENBLAS_NUM_THREADS": "5", "OMP_NUM_THREADS": "3"}, 5),
        ({}, len(os.sched_getaffinity(0))),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, max(1, len(os.sched_getaffinity(0)) // 2)),
        ({"MPI_LOCALNRANKS": "999"}, 1),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMP_NUM_THREADS": "4"}, 4),
    ],
)
def test_caffe_takes_as_many_threads_as_the_environment_says(variables, expected):
    unset = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run(
        [sys.executable, "-c", THREADS],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment | variables,
        check=True,
    )
    assert done.stdout == f"{expected}\n"


def test_one_openblas_is_loaded_and_it_is_that_of_openmp():
    """Two pools of threads would spin against each other."""
    code = """
from training.pycaffe import import_caffe
import_caffe()
lines = open("/proc/self/maps").read().splitlines()
paths = {line.split()[-1] for line in lines if "/libopenblas" in line}
print("\\n".join(path for path in paths if "site-packages" not in path))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = done.stdout.split()
    assert loaded
    assert all("openblas-openmp" in path for path in loaded)
