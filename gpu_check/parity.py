"""The same net on two devices: outputs and gradients, compared blob by blob."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.datasets import IGNORE
from gpu_check.cases import Case
from gpu_check.devices import Device
from gpu_check.isolation import isolated
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.emit import net_text
from prototxt_gen.experiment import Experiment
from prototxt_gen.models import TRAIN, build
from prototxt_gen.prototxt import fed_by_caller
from training.pycaffe import import_caffe

# Largest distance ||a - b|| / ||b|| of a blob, in float32. One layer rounds its sums once; in a net of 400
# layers with BatchNorm roundings add up, and a ReLU whose input is next to zero flips now and then. On one
# CPU, two kernel sets of OpenBLAS: outputs 1e-6 apart, all gradients together 6e-4, the worst blob 1.5e-2.
LAYER_TOLERANCE = 1e-4
OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 0.1
ALL_GRADIENTS_TOLERANCE = 5e-3

Blobs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Distance:
    """The blob that differs most, and by how much of its length."""

    blob: str
    value: float

    def within(self, tolerance: float) -> bool:
        """Tell whether it is small enough; a NaN is not."""
        return self.value <= tolerance


def compare(ours: Blobs, theirs: Blobs) -> Distance:
    """Return the largest distance of a blob; one that is almost zero counts against the largest of all."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"other blobs: {sorted(ours.keys() ^ theirs.keys())}")
    floor = 1e-6 * max(np.linalg.norm(blob) / np.sqrt(blob.size) for blob in theirs.values())
    worst = Distance("", 0.0)
    for name, b in theirs.items():
        length = max(float(np.linalg.norm(b)), floor * np.sqrt(b.size))
        value = float(np.linalg.norm(ours[name] - b)) / length if length else float(np.any(ours[name]))
        if np.isnan(value) or value > worst.value:  # nothing is larger than a NaN
            worst = Distance(name, value)
    return worst


def compare_whole(ours: Blobs, theirs: Blobs) -> Distance:
    """Return the distance of all blobs together."""
    a, b = (np.concatenate([side[name].ravel() for name in theirs]) for side in (ours, theirs))
    return Distance("all", float(np.linalg.norm(a - b) / np.linalg.norm(b)))


def layer_parity(case: Case, device: Device, reference: Device) -> Distance:
    """Run one layer forward and backward on both devices."""
    ours, theirs = (isolated(_run_layer, case, where) for where in (device, reference))
    return compare(ours, theirs)


def net_parity(exp: Experiment, device: Device, reference: Device) -> tuple[Distance, Distance, Distance]:
    """Run an experiment's train net forward and backward.

    Returns the distances of outputs, of gradients, and of all gradients together.
    """
    text = _without_data(net_text(build(exp, TRAIN), []))
    ours, theirs = (isolated(_run_net, text, exp, where) for where in (device, reference))
    gradients = ours[1], theirs[1]
    return compare(ours[0], theirs[0]), compare(*gradients), compare_whole(*gradients)


def layer_types() -> list[str]:
    """Return the kinds of layers of this Caffe."""
    return list(import_caffe().layer_type_list())


def _net(caffe, text: str):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.prototxt")
        path.write_text(text, encoding="utf-8")
        return caffe.Net(str(path), caffe.TRAIN)


def _fill(net, rng: np.random.Generator) -> None:
    """Give parameters values that do not depend on the device: He's for weights, near one for what scales."""
    for blobs in net.params.values():
        for blob in blobs:
            if blob.data.ndim == 4:
                spread = np.sqrt(2 / np.prod(blob.shape[1:]))
                blob.data[...] = rng.normal(0, spread, blob.data.shape)
            else:
                blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)


def _run_layer(case: Case, device: Device) -> Blobs:
    caffe = import_caffe()
    device.choose(caffe)
    rng = np.random.default_rng(7)
    net = _net(caffe, case.prototxt())
    _fill(net, rng)
    inputs = [f"x{i}" for i in range(len(case.shapes))]
    for name in inputs:
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
    if case.classes:
        labels = rng.integers(0, case.classes + 1, net.blobs[inputs[-1]].shape)
        net.blobs[inputs.pop()].data[...] = np.where(labels == case.classes, 255, labels)
    net.forward()
    outputs = [f"y{i}" for i in range(case.tops)]
    for name in outputs:
        blob = net.blobs[name]
        blob.diff[...] = 1 if case.classes else rng.normal(size=blob.shape)
    net.backward()
    results = {name: net.blobs[name].data.copy() for name in outputs}
    results |= {f"gradient of {name}": net.blobs[name].diff.copy() for name in inputs}
    return results | _parameter_gradients(net)


def _parameter_gradients(net) -> Blobs:
    return {
        f"gradient of {layer}[{i}]": blob.diff.copy()
        for layer, blobs in net.params.items()
        for i, blob in enumerate(blobs)
        if not layer.endswith("/bn")
    }


def _without_data(text: str) -> str:
    from google.protobuf import text_format

    return text_format.MessageToString(fed_by_caller(text_format.Parse(text, caffe_pb2().NetParameter())))


def _run_net(text: str, exp: Experiment, device: Device) -> tuple[Blobs, Blobs]:
    caffe = import_caffe()
    device.choose(caffe)
    rng = np.random.default_rng(7)
    net = _net(caffe, text)
    _fill(net, rng)
    for task, settings in exp.tasks.items():
        record = net.blobs[f"{task}_data"]
        record.data[:, :3] = rng.normal(0, 60, record.data[:, :3].shape)
        labels = rng.integers(0, settings.classes + 1, record.data[:, 3:].shape)
        record.data[:, 3:] = np.where(labels == settings.classes, IGNORE, labels)
    net.forward()
    net.backward()
    scores = [name for name in net.blobs if name.endswith(("_loss", "score"))]
    return {name: net.blobs[name].data.copy() for name in scores}, _parameter_gradients(net)
