"""The same net on two devices: outputs and gradients, compared blob by blob."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.files import memory_file, staged_file
from gpu_check.cases import LayerCase
from gpu_check.devices import Device
from gpu_check.nets import TASK, Case
from inference.caffe_net import CaffeNet
from inference.deploy import read_deploy
from prototxt_gen.fused_weights import is_statistics, plain_view
from training.pycaffe import import_caffe
from training.weights import load_weights

# Largest distance ||a - b|| / ||b|| of a blob, in float32. One layer rounds its sums once; in a net of 400
# layers with BatchNorm roundings add up, and a ReLU whose input is next to zero flips now and then. On one
# CPU, two kernel sets of OpenBLAS: outputs 1e-6 apart, all gradients together 6e-4, the worst blob 1.5e-2.
LAYER_TOLERANCE = 1e-4
OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 0.1
ALL_GRADIENTS_TOLERANCE = 5e-3
# TF32 keeps 10 of 23 bits: a product is 5e-4 off, where float32 is 6e-8.
TF32_OUTPUT_TOLERANCE = 3e-2
SAMPLE = 4096  # values of a parameter's gradient that are compared: a reference must not be as large as a net

Blobs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Distance:
    """The blob that differs most, and by how much of its length."""

    blob: str
    value: float

    def within(self, tolerance: float) -> bool:
        """Return whether it is small enough; a NaN is not."""
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


@dataclass(frozen=True)
class NetOutput:
    """What a net computes: outputs, and a sample of each gradient's values by the plain layer's name."""

    outputs: Blobs
    gradients: Blobs

    def save(self, path: Path, key: str) -> None:
        """Write it as .npz; `key` says of what net it is."""
        arrays = {f"outputs:{name}": blob for name, blob in self.outputs.items()}
        arrays |= {f"gradients:{name}": blob for name, blob in self.gradients.items()}
        with staged_file(path) as staged, staged.open("wb") as file:
            np.savez_compressed(file, key=np.array(key), **arrays)

    @classmethod
    def load(cls, path: Path, key: str) -> "NetOutput | None":
        """Read what `save` has written; None where there is no such file, or one of another net."""
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["key"]) != key:
                return None
            parts: dict[str, Blobs] = {"outputs": {}, "gradients": {}}
            for name in arrays.files:
                part, _, blob = name.partition(":")
                if blob:
                    parts[part][blob] = arrays[name]
        return cls(**parts)


def key(case: Case) -> str:
    """Return a checksum of a net with its weights and input."""
    whole = hashlib.sha256()
    for name in ("plain.prototxt", "net.caffemodel", "inputs.npz"):
        content = (case.folder / name).read_bytes()
        if name == "inputs.npz":  # a ZIP archive, which holds the time
            content = b"".join(blob.tobytes() for blob in case.inputs().values())
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()


def net_answer(case: Case, form: str, device: Device) -> NetOutput:
    """Compute a case: a training net forward and backward, a tile as predict.py does."""
    return _train_answer(case, form, device) if case.trains else _tile_answer(case, form, device)


def same_bits(case: Case, form: str, device: Device) -> list[str]:
    """Compute a case twice; return the blobs that differ in a bit."""
    first, second = (net_answer(case, form, device) for _ in range(2))
    return [
        name
        for part in ("outputs", "gradients")
        for name, blob in getattr(first, part).items()
        if blob.tobytes() != getattr(second, part)[name].tobytes()
    ]


def open_net(path: Path, weights: Path, device: Device, phase: str = "TRAIN"):
    """Return (caffe, a net of it with weights) on a device."""
    caffe = import_caffe()
    device.choose(caffe)
    net = caffe.Net(str(path), getattr(caffe, phase))
    load_weights(net, weights)
    return caffe, net


def _train_answer(case: Case, form: str, device: Device) -> NetOutput:
    _, net = open_net(case.prototxt(form), case.weights, device)
    for name, blob in case.inputs().items():
        net.blobs[name].data[...] = blob
    net.forward()
    net.backward()
    scores = {name: net.blobs[name].data.copy() for name in net.blobs if name.endswith(("_loss", "score"))}
    gradients = {
        f"{layer}[{i}]": _sample(blob.diff)
        for layer, blobs in plain_view(net.params).items()
        for i, blob in enumerate(blobs)
        if not is_statistics(layer)
    }
    return NetOutput(scores, gradients)


def _tile_answer(case: Case, form: str, device: Device) -> NetOutput:
    device.choose(import_caffe())
    net = CaffeNet(read_deploy(case.prototxt(form)), case.weights, TASK, gpu=device.gpu)
    return NetOutput({"probabilities": net(case.inputs()["data"]).copy()}, {})


def _sample(values: np.ndarray) -> np.ndarray:
    """Return SAMPLE values, the same places for the same size, or all of fewer."""
    values = values.ravel()
    if values.size <= SAMPLE:
        return values.copy()
    return values[np.random.default_rng(values.size).choice(values.size, SAMPLE, replace=False)]


def layer_types() -> list[str]:
    """Return the kinds of layers of this Caffe."""
    return list(import_caffe().layer_type_list())


def run_layer(case: LayerCase, device: Device) -> Blobs:
    """Run one layer forward and backward; return outputs and all gradients."""
    caffe = import_caffe()
    device.choose(caffe)
    rng = np.random.default_rng(7)
    with memory_file(case.prototxt()) as path:
        net = caffe.Net(path, caffe.TRAIN)
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
    return results | {
        f"gradient of {layer}[{i}]": blob.diff.copy()
        for layer, blobs in net.params.items()
        for i, blob in enumerate(blobs)
        if not is_statistics(layer)
    }


def _fill(net, rng: np.random.Generator) -> None:
    """Give parameters values that do not depend on the device: He's for weights, near one for what scales."""
    for blobs in net.params.values():
        for blob in blobs:
            if blob.data.ndim == 4:
                spread = np.sqrt(2 / np.prod(blob.shape[1:]))
                blob.data[...] = rng.normal(0, spread, blob.data.shape)
            else:
                blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)
