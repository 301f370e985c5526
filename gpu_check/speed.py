"""How fast a device trains and predicts, in what memory. Each function for a process of its own."""

import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpu_check.devices import Device
from gpu_check.nets import TASK, Case
from gpu_check.parity import Blobs, open_net
from inference.caffe_net import CaffeNet
from inference.deploy import read_deploy
from training.pycaffe import import_caffe
from training.weights import load_weights

WARM_UP = 2
ROUNDS = 5
SOLVER = 'net: "{net}" base_lr: 1e-4 momentum: 0.9 weight_decay: 5e-4 lr_policy: "fixed" snapshot: 0\n'
# What a cuDNN choice looks like in Caffe's log, see native/overlay/src/caffe/util/cudnn_lanes.cpp.
CHOICE = re.compile(
    r"cuDNN: .*, (forward|backward to data|backward to filters): (algorithm \d+(?:, math \d| refuses))"
)


@dataclass(frozen=True)
class Speed:
    """Median seconds of a round, its images, the bytes that the device's memory grew by, the first answer."""

    seconds: float
    images: int
    memory: int
    answer: Blobs

    def __str__(self) -> str:
        """Return it in a few words."""
        return (
            f"{1000 * self.seconds:.0f} ms for {self.images} ({self.images / self.seconds:.3g} images/s), "
            f"{self.memory / 2**30:.3g} GiB"
        )

    def numbers(self) -> dict[str, float]:
        """Return it for programs."""
        return {"seconds": self.seconds, "images": self.images, "bytes": self.memory}


def speed(case: Case, form: str, device: Device) -> Speed:
    """Time the updates of a training net, or the prediction of a tile from host memory and back to it."""
    caffe = import_caffe()
    device.choose(caffe)
    before = device.used_bytes()
    work = (_updates if case.trains else _predictions)(caffe, case, form, device)
    times, answer = [], None
    for _ in range(WARM_UP + ROUNDS):
        start = time.monotonic()
        result = work()
        times.append(time.monotonic() - start)
        answer = answer or result
    return Speed(float(np.median(times[WARM_UP:])), case.images, device.used_bytes() - before, answer)


def _updates(caffe, case: Case, form: str, device: Device):
    path = case.folder / f"{form}_solver.prototxt"
    mode = "CPU" if device.gpu is None else "GPU"
    path.write_text(SOLVER.format(net=case.prototxt(form)) + f"solver_mode: {mode}\n", encoding="utf-8")
    solver = caffe.SGDSolver(str(path))
    load_weights(solver.net, case.weights)
    for name, blob in case.inputs().items():
        solver.net.blobs[name].data[...] = blob

    def update() -> Blobs:
        solver.step(1)
        losses = {name: solver.net.blobs[name].data.copy() for name in solver.net.outputs}
        if not np.isfinite(sum(float(loss) for loss in losses.values())):
            raise RuntimeError("the loss is not a number")
        return losses

    return update


def _predictions(caffe, case: Case, form: str, device: Device):
    net = CaffeNet(read_deploy(case.prototxt(form)), case.weights, TASK, gpu=device.gpu)
    tile = case.inputs()["data"]
    return lambda: {"probabilities": net(tile).copy()}


def layer_times(case: Case, form: str, device: Device) -> dict[str, tuple[float, float]]:
    """Return the milliseconds of each layer of a training net, forward and backward."""
    _, net = open_net(case.prototxt(form), case.weights, device)
    for name, blob in case.inputs().items():
        net.blobs[name].data[...] = blob
    names = list(net._layer_names)
    times = {name: [0.0, 0.0] for name in names}
    for _ in range(2):  # the first chooses algorithms and takes memory
        net.clear_param_diffs()
        for direction, run, order in ((0, net._forward, 1), (1, net._backward, -1)):
            for number in range(len(names))[::order]:
                device.synchronize()
                start = time.monotonic()
                run(number, number)
                device.synchronize()
                times[names[number]][direction] = 1000 * (time.monotonic() - start)
    return {name: (forward, backward) for name, (forward, backward) in times.items()}


def algorithms(log: Path) -> str:
    """Return which of cuDNN's algorithms a process chose, and how often, from its log."""
    chosen = Counter(": ".join(choice) for choice in CHOICE.findall(log.read_text(errors="replace")))
    return "; ".join(f"{algorithm} x {count}" for algorithm, count in sorted(chosen.items()))
