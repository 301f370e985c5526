"""The rows of the speed benchmark: which program runs which form of the net, on which files."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from speed_files import random_weights, write_case

from prototxt_gen.caffemodel import Weights
from prototxt_gen.cost import layer_costs
from prototxt_gen.emit import net_message
from prototxt_gen.experiment import Experiment
from prototxt_gen.fold import fold
from prototxt_gen.fused_weights import fuse_weights, plain_view
from prototxt_gen.layers import Net
from prototxt_gen.models import DEPLOY, TRAIN, build
from prototxt_gen.onnx_export import to_onnx, write_onnx
from prototxt_gen.prototxt import fed_by_caller

HERE = Path(__file__).resolve().parent
PEERS_PYTHON = os.environ.get("PEERS_PYTHON", sys.executable)
PROCESS = 400e6  # bytes: libraries and weights, beside the blobs
# What the peers were seen to take, in bytes an input pixel: to leave out what cannot fit.
PREDICTION_PEER, TRAINING_PEER = 5e3, 25e3
# glibc keeps freed memory then, as jemalloc and tcmalloc do: handing it back costs more than the arithmetic.
TUNED_MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_MMAP_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
SAME, BFLOAT16 = 1e-3, np.inf  # allowed difference from Caffe, of probabilities, or relative of losses


@dataclass(frozen=True)
class SpeedCase:
    """One row: its name, the command that serves it, what it may need in bytes, its allowed difference.

    `environment` is set for its process.
    """

    name: str
    command: tuple[str, ...]
    needs: float
    tolerance: float = SAME
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """A form of the net in Caffe: name, NetParameter, weights, and the bytes that its blobs may take."""

    name: str
    net: object
    weights: Weights
    blob_bytes: float = 0.0


def predicting(exp: Experiment, side: int, weights: Weights | None) -> tuple[Net, list[Form]]:
    """Return the plain deploy net of the land task for a tile of `side`, and the forms that Caffe runs."""
    exp = _plain(exp)
    net = build(exp, DEPLOY, ["land"], crop=side)
    weights = plain_view(weights) if weights else random_weights(net)
    plain = Form("plain", net_message(net), weights, _bytes(net, "deploy_bytes"))
    folded = Form("folded", *fold(plain.net, weights, exp.name))
    return net, [plain, folded, fused_form(build(_fused(exp), DEPLOY, ["land"], crop=side), weights)]


def training(exp: Experiment, side: int) -> tuple[Net, list[Form]]:
    """Return the plain train net for crops of `side`, one image a task, and the forms that Caffe trains."""
    exp = _plain(exp)
    exp = exp.model_copy(update={"input": exp.input.model_copy(update={"crop": side})})
    exp = exp.model_copy(update={"solver": exp.solver.model_copy(update={"images_per_pass": 1})})
    net = build(exp, TRAIN)
    weights = random_weights(net)
    plain = Form("plain", fed_by_caller(net_message(net)), weights, _bytes(net, "training_bytes"))
    return net, [plain, fused_form(build(_fused(exp), TRAIN), weights)]


def fused_form(net: Net, weights: Weights) -> Form:
    """Return the form of our fused layers; its blobs' memory, which they share, is not predicted."""
    return Form("fused", fed_by_caller(net_message(net)), fuse_weights(weights))


def prediction_rows(folder: Path, forms: Sequence[Form], side: int, threads: int) -> list[SpeedCase]:
    """Write the cases of a tile, and return its rows."""
    rng = np.random.default_rng(2)
    inputs = {"data": rng.normal(0, 1.2, (1, 3, side, side)).astype(np.float32)}
    for form in forms:
        write_case(folder / form.name, form.net, form.weights, inputs)
    plain = forms[0]
    write_onnx(folder / "plain" / "net.onnx", to_onnx(plain.net, plain.weights, plain.name))
    needs = PROCESS + PREDICTION_PEER * side**2
    peers = _torch_rows("pytorch", ("", "-channels-last", "-compiled", "-bf16"), folder, threads, needs)
    kinds = {"onnxruntime": SAME, "openvino": SAME, "openvino-bf16": BFLOAT16}
    peers += [
        SpeedCase(kind, _peer(kind, folder / "plain", threads), needs, allowed)
        for kind, allowed in kinds.items()
    ]
    rounded = _caffe_rows("caffe-bf16", folder, [form for form in forms if form.name == "fused"], threads)
    return [
        *_caffe_rows("caffe", folder, forms, threads),
        *(replace(row, name=f"{row.name} bf16", tolerance=BFLOAT16) for row in rounded),
        *peers,
    ]


def training_rows(folder: Path, forms: Sequence[Form], side: int, threads: int) -> list[SpeedCase]:
    """Write the cases of a training step, and return its rows."""
    rng = np.random.default_rng(2)
    inputs = {}
    for layer in forms[0].net.layer:
        if layer.type == "Input":
            image = rng.integers(-110, 140, (1, 3, side, side))
            label = rng.integers(0, 2, (1, 1, side, side))
            label[:, :, : side // 8] = 255  # some of it unknown
            inputs[layer.top[0]] = np.concatenate([image, label], axis=1).astype(np.float32)
    for form in forms:
        write_case(folder / form.name, form.net, form.weights, inputs)
    needs = PROCESS + TRAINING_PEER * side**2 * len(inputs)
    ways = ("", "-channels-last", "-compiled", "-checkpointed", "-bf16")
    peers = _torch_rows("pytorch-training", ways, folder, threads, needs)
    return [*_caffe_rows("caffe-training", folder, forms, threads), *peers]


def _caffe_rows(kind: str, folder: Path, forms: Sequence[Form], threads: int) -> list[SpeedCase]:
    script = (sys.executable, str(HERE / "caffe_rows.py"), kind)
    return [
        SpeedCase(
            f"caffe {form.name}",
            (*script, str(folder / form.name), str(threads)),
            PROCESS + form.blob_bytes,
        )
        for form in forms
    ]


def _torch_rows(kind: str, ways: Sequence[str], folder: Path, threads: int, needs: float) -> list[SpeedCase]:
    """Return PyTorch as it is installed, then in each of the ways with its allocator tuned."""

    def row(name: str, way: str, environment: Mapping[str, str]) -> SpeedCase:
        command = _peer(kind + way, folder / "plain", threads)
        return SpeedCase(name, command, needs, BFLOAT16 if "bf16" in way else SAME, environment)

    return [row("pytorch", "", {}), *(row(f"pytorch-tuned{way}", way, TUNED_MALLOC) for way in ways)]


def _peer(kind: str, folder: Path, threads: int) -> tuple[str, ...]:
    return PEERS_PYTHON, str(HERE / "peers.py"), kind, str(folder), str(threads)


def _plain(exp: Experiment, form: str = "plain") -> Experiment:
    return exp.model_copy(update={"densenet": exp.densenet.model_copy(update={"dense_block": form})})


def _fused(exp: Experiment) -> Experiment:
    return _plain(exp, "fused")


def _bytes(net: Net, kind: str) -> float:
    return float(sum(getattr(cost, kind) for cost in layer_costs(net).values()))
