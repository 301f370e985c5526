"""Measurements of training steps and tiles, of our layers, Caffe's and PyTorch's."""

import json
import os
from collections.abc import Iterator
from itertools import product

import numpy as np

from gpu_check import parity, speed
from gpu_check.deadline import Deadline
from gpu_check.isolation import ProcessDied, checked_command
from gpu_check.nets import ROOT, Case
from gpu_check.parity_checks import compared
from gpu_check.rows import Row
from gpu_check.target import NET, OTHER_NETS, TF32, Target
from training.gpus import out_of_memory

LOGGED = {"GLOG_minloglevel": "0"}  # Caffe's INFO lines, which name algorithms
SLOWEST = 12  # layers in the table
# A bundle's own Python and libraries are not another Python's; OUTER_... is what they were before.
PEER_ENVIRONMENT = {
    "PYTHONHOME": None,
    "PYTHONPATH": None,
    "LD_LIBRARY_PATH": os.environ.get("OUTER_LD_LIBRARY_PATH", os.environ.get("LD_LIBRARY_PATH")),
}
PEER_TOLERANCE = 1e-3  # between two programs in float32: probabilities; losses by their size


def fused(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Time training steps and tiles of our layers, in float32 and in TF32."""
    for case, (words, environment) in product(_timed(target), (("FP32", {}), ("TF32", TF32))):
        yield from measured(target, case, "fused", words, environment, deadline)


def plain(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Time steps and tiles of Caffe's layers, where memory suffices, and the other nets' steps."""
    for case in _timed(target):
        yield from measured(target, case, "plain", "FP32", {}, deadline)
    for name in OTHER_NETS:
        case = target.case(name, True, target.sizes.crops[0])
        yield from measured(target, case, "fused", "FP32", {}, deadline)


def _timed(target: Target) -> list[Case]:
    crops = [target.case(NET, True, side) for side in target.sizes.crops]
    return [*crops, *(target.case(NET, False, side) for side in target.sizes.tiles)]


def measured(
    target: Target, case: Case, form: str, words: str, environment: dict[str, str], deadline: Deadline
) -> Iterator[Row]:
    """Time a case; yield its row and, of cuDNN, one with the algorithms that it chose."""
    name = f"{case.name}, {form}, {words}"
    log = target.folder / f"{case.name}_{form}_{words}.log"
    options = {"timeout": deadline.share(), "environment": {**LOGGED, **environment}, "log": log}
    try:
        result = target.run(speed.speed, case, form, target.device, **options)
    except ProcessDied as error:
        yield Row(name, None if out_of_memory(str(error)) else False, str(error))
        return
    np.savez(case.folder / f"answers_{form}_{words}.npz", **result.answer)
    chosen = speed.algorithms(log)
    yield Row(name, None, str(result), {**result.numbers(), "algorithms": chosen})
    if chosen:
        yield Row(f"{name}, cuDNN", None, chosen)


def pytorch(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Time PyTorch on the same nets, weights and inputs; its answers in float32 are Caffe's."""
    yield from _pytorch(target, ["fp32", "tf32", "bf16"], deadline)


def compiled(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Time what PyTorch has compiled."""
    yield from _pytorch(target, ["bf16-compiled"], deadline)


def _pytorch(target: Target, modes: list[str], deadline: Deadline) -> Iterator[Row]:
    if target.peer is None:
        yield Row(f"PyTorch {' '.join(modes)}", None, "skipped: no --peer, a Python with PyTorch")
        return
    script, device = ROOT / "gpu_check" / "torch_speed.py", "cuda" if target.gpus else "cpu"
    for case in _timed(target):
        name = f"{case.name}, PyTorch"
        kind = "train" if case.trains else "predict"
        command = [target.peer, script, case.folder, kind, device, speed.ROUNDS, *modes]
        try:
            out = checked_command(command, deadline.share(), PEER_ENVIRONMENT)
        except ProcessDied as error:
            yield Row(name, None if out_of_memory(str(error)) else False, str(error))
            continue
        for line in out.splitlines():
            result = json.loads(line)
            words = str(speed.Speed(result["seconds"], case.images, result["bytes"], {}))
            yield Row(f"{name}, {result['mode']}", None, words, result)
        yield from _same_answers(case, name)


def _same_answers(case: Case, name: str) -> Iterator[Row]:
    files = [case.folder / f"answers_{program}.npz" for program in ("fused_FP32", "fp32")]
    if not all(file.exists() for file in files):
        return
    ours, theirs = (dict(np.load(file, allow_pickle=False)) for file in files)
    distance = parity.compare({"answers": _joined(ours)}, {"answers": _joined(theirs)})
    yield compared(f"{name}'s answers against Caffe's", distance, PEER_TOLERANCE)


def _joined(answers: parity.Blobs) -> np.ndarray:
    """Return the values of a net's outputs, which two programs need not call the same, in one array."""
    return np.concatenate([blob.ravel() for _, blob in sorted(answers.items())])


def by_layer(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Say which layers of a training step take longest."""
    case = target.case(NET, True, target.sizes.crops[0])
    times = target.run(speed.layer_times, case, "fused", target.device, timeout=deadline.left())
    total = sum(map(sum, times.values()))
    slowest = sorted(times.items(), key=lambda item: -sum(item[1]))[:SLOWEST]
    words = ", ".join(f"{name} {forward:.1f}+{backward:.1f}" for name, (forward, backward) in slowest)
    yield Row(f"{case.name}, fused, ms by layer", None, f"{total:.0f} in all: {words}", {"ms": times})
