"""Checks of whole trainings: against the CPU, resumed, over NCCL, on real scenes."""

from collections.abc import Iterator
from math import isfinite

from gpu_check import scenes, training
from gpu_check.deadline import Deadline
from gpu_check.isolation import ProcessDied
from gpu_check.nets import experiment
from gpu_check.rows import Row
from gpu_check.target import Target

REAL = "dfcnet_256"


def iterations(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Train as a user would, against the CPU; stop and resume."""
    folder, first_gpu = target.new_folder(), target.gpu_numbers[:1]
    options = training.settings(folder, 1, *target.settings)
    ours = training.train(folder / "device", options, first_gpu, deadline)
    cpu = training.train(folder / "cpu", options, [], deadline)
    first, last = ours.distance(cpu, 0), ours.distance(cpu, -1)
    ok = first <= training.FIRST_TOLERANCE and last <= training.LAST_TOLERANCE
    yield Row("20 iterations, losses against the CPU", ok, f"first {first:.1e}, last {last:.1e} apart")
    distance = training.resume_half(ours.folder, folder / "resumed", options, first_gpu, deadline)
    words = f"{distance:.1e} apart from the whole run"
    yield Row("resumed at iteration 10, weights", distance <= training.RESUMED_TOLERANCE, words)


def nccl(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Train over NCCL with one GPU, and with all against one, in both ways of averaging."""
    if not target.gpus:
        yield Row("NCCL", None, "skipped: needs a GPU")
        return
    for check, gpus in ((one_over_nccl, "one GPU"), (all_gpus, f"{target.gpus} GPUs")):
        for reduction, passes in training.REDUCED.items():
            try:
                yield check(target, reduction, passes, deadline)
            except ProcessDied as error:
                yield Row(f"NCCL on {gpus}, {reduction}", False, str(error))


def one_over_nccl(target: Target, reduction: str, passes: int, deadline: Deadline) -> Row:
    """Train on one GPU as if it were one of several."""
    folder = target.new_folder()
    exp = experiment(training.DEMO, training.settings(folder, 1, *target.settings, passes=passes))
    arguments = (training.alone_over_nccl, exp, folder / "run", target.device)
    size, loss = target.run(*arguments, timeout=deadline.left())
    words = f"id of {size} bytes, last loss {loss:.3f}"
    return Row(f"NCCL on one GPU, {reduction}", size == 128 and isfinite(loss), words)


def all_gpus(target: Target, reduction: str, passes: int, deadline: Deadline) -> Row:
    """Train the same batches on all GPUs and on one."""
    name = f"NCCL on {target.gpus} GPUs, {reduction}, weights"
    if target.gpus == 1:
        return Row(name, None, "skipped: this machine has one")
    folder, settings = target.new_folder(), target.settings
    distance = training.all_against_one(folder, target.gpu_numbers, passes, deadline, *settings)
    words = f"{distance:.1e} apart from one GPU's of the same batches"
    return Row(name, distance <= training.SHARED_TOLERANCE, words)


def real_scenes(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Train DFCNet on real scenes for some minutes, and score scenes that it has not seen."""
    if target.scenes is None:
        yield Row("training on real scenes", None, "skipped: no --scenes")
        return
    name = training.DEMO if target.quick else REAL
    seconds = min(target.train_seconds, 0.7 * deadline.left())
    folder, first_gpu = target.new_folder(), target.gpu_numbers[:1]
    yield scenes.train(target.scenes, folder, name, first_gpu, seconds, deadline)
