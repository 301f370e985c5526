"""How fast a device trains and predicts, in what memory. Each function for a process of its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpu_check.devices import Device
from gpu_check.records import sources
from inference.caffe_net import CaffeNet
from inference.deploy import read_deploy
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.emit import net_text, net_texts, solver_text
from prototxt_gen.experiment import Experiment, read_experiment
from prototxt_gen.fold import fold
from prototxt_gen.models import DEPLOY, build
from prototxt_gen.prototxt import read_net
from training.pycaffe import import_caffe

WARM_UP = 2
ROUNDS = 5


@dataclass(frozen=True)
class Speed:
    """Median seconds of a round, images in it, and the bytes that the device's memory grew by."""

    seconds: float
    images: int
    memory: int

    def __str__(self) -> str:
        """Say it in a few words."""
        return (
            f"{self.images / self.seconds:.3g} images/s, {1000 * self.seconds:.0f} ms for {self.images}, "
            f"{self.memory / 2**30:.1f} GiB"
        )


def train_speed(
    path: Path, crop: int, options: Sequence[str], folder: Path, device: Device, rounds: int = ROUNDS
) -> Speed:
    """Time the updates of an experiment at a crop: one pass over one image of each task."""
    caffe = import_caffe()
    exp = _single(path, crop, *options)
    exp = _single(path, crop, *options, *sources(exp, folder / "data", 8))
    for name, text in net_texts(exp, folder).items():
        (folder / name).write_text(text, encoding="utf-8")
    solver = folder / "solver.prototxt"
    mode = "CPU" if device.gpu is None else "GPU"
    text = solver_text(exp, f"{folder}/train.prototxt", f"{folder}/s", mode, [], 1, snapshots=False)
    solver.write_text(text, encoding="utf-8")
    device.choose(caffe)
    before = device.used_bytes()
    solver = caffe.get_solver(str(solver))
    losses = [solver.net.blobs[f"{task}_loss"] for task in exp.tasks]

    def update() -> None:
        solver.step(1)
        if not np.isfinite(sum(float(loss.data) for loss in losses)):
            raise RuntimeError("the loss is no number")

    seconds = _median(update, rounds)
    return Speed(seconds, len(exp.tasks), device.used_bytes() - before)


def _single(path: Path, crop: int, *settings: str) -> Experiment:
    """Return an experiment for one process, one pass and one image of each task."""
    tasks = len(read_experiment(path).tasks)
    one = ["solver.ranks=1", "solver.images_per_pass=1", f"solver.batch_size={tasks}", f"input.crop={crop}"]
    return read_experiment(path, [*one, *settings])


def tile_speed(
    path: Path,
    folded: bool,
    side: int,
    options: Sequence[str],
    folder: Path,
    device: Device,
    rounds: int = ROUNDS,
) -> Speed:
    """Time an experiment's deploy net on one tile, as predict.py does: from host memory and back to it."""
    caffe = import_caffe()
    deploy, weights = folder / "deploy.prototxt", folder / "w.caffemodel"
    net = build(read_experiment(path, options), DEPLOY, ["land"], crop=side)
    deploy.write_text(net_text(net, []), encoding="utf-8")
    caffe.Net(str(deploy), caffe.TEST).save(str(weights))
    if folded:
        message, values = fold(read_net(deploy), read_caffemodel(weights), weights)
        deploy.write_text(str(message), encoding="utf-8")
        write_caffemodel(weights, net.name, values, overwrite=True)
    device.choose(caffe)
    before = device.used_bytes()
    net = CaffeNet(read_deploy(deploy), weights, "land", gpu=device.gpu)
    tile = np.random.default_rng(1).normal(0, 1, (1, 3, side, side)).astype(np.float32)

    def predict() -> None:
        if net(tile).shape != (1, 6, side, side):
            raise RuntimeError("the net answers in another shape")

    seconds = _median(predict, rounds)
    return Speed(seconds, 1, device.used_bytes() - before)


def _median(work, rounds: int) -> float:
    times = []
    for number in range(WARM_UP + rounds):
        start = time.monotonic()
        work()
        if number >= WARM_UP:
            times.append(time.monotonic() - start)
    return float(np.median(times))
