"""Checks that a device computes what the CPU does: layers, training nets, the prediction of a tile."""

from collections.abc import Iterator, Sequence
from math import isfinite

from gpu_check import parity
from gpu_check.cases import CASES
from gpu_check.deadline import Deadline
from gpu_check.devices import CPU
from gpu_check.isolation import ProcessDied, Worker, run_isolated
from gpu_check.nets import FORMS, Case
from gpu_check.rows import Row
from gpu_check.target import NET, NO_CACHE, OTHER_NETS, TF32, Target

NO_WORKSPACE = {"CAFFE_CUDNN_WORKSPACE_MB": "0"}


def layers(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Compare each layer with the CPU, all of them in one process for each device."""
    with (
        Worker(environment=target.device.environment) as worker,
        Worker(environment=CPU.environment) as cpu_worker,
    ):
        known = cpu_worker.call(parity.layer_types, timeout=deadline.left())
        for case in CASES:
            name = f"layer {case.name}"
            if case.type not in known:
                yield Row(name, False, f"this Caffe has no layer {case.type}")
                continue
            try:
                ours = worker.call(parity.run_layer, case, target.device, timeout=deadline.share())
                theirs = cpu_worker.call(parity.run_layer, case, CPU, timeout=deadline.share())
            except ProcessDied as error:
                yield Row(name, False, str(error))
                continue
            yield compared(name, parity.compare(ours, theirs), parity.LAYER_TOLERANCE)


def net(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Compare DFCNet's training with the CPU, with all that a GPU can vary; twice the same is the same."""
    case = target.case(NET, True, target.sizes.parity)
    yield from _compare_net(target, case, deadline)
    variants = {"TF32": TF32, "no workspace": NO_WORKSPACE, "smallest strips": NO_CACHE}
    for words, environment in variants.items():
        yield from _compare_net(target, case, deadline, ("fused",), words, environment)
    name = f"{case.name}, fused, the same step twice"
    try:
        differing = target.run(parity.same_bits, case, "fused", target.device, timeout=deadline.left())
    except ProcessDied as error:
        yield Row(name, False, str(error))
        return
    words = f"{len(differing)} blobs differ: {' '.join(differing[:5])}" if differing else "equal to the bit"
    yield Row(name, not differing, words)


def other_nets(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Compare the training of baseline and ClassmateNet with the CPU."""
    for name in OTHER_NETS:
        yield from _compare_net(target, target.case(name, True, target.sizes.parity), deadline)


def prediction(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Compare the probabilities of a tile of several strips with the CPU, as predict.py computes them."""
    case = target.case(NET, False, target.sizes.tile)
    yield from _compare_net(target, case, deadline)
    yield from _compare_net(target, case, deadline, ("fused",), "TF32", TF32)


def _compare_net(
    target: Target,
    case: Case,
    deadline: Deadline,
    forms: Sequence[str] = FORMS,
    words: str = "",
    environment: dict[str, str] | None = None,
) -> Iterator[Row]:
    theirs = reference(target, case, deadline)
    for form in forms:
        name = ", ".join(filter(None, (case.name, form, words)))
        arguments = (parity.net_answer, case, form, target.device)
        try:
            ours = target.run(*arguments, timeout=deadline.share(), environment=environment)
        except ProcessDied as error:
            yield Row(name, False, str(error))
            continue
        tf32 = environment is TF32 and target.gpus > 0
        tolerance = parity.TF32_OUTPUT_TOLERANCE if tf32 else parity.OUTPUT_TOLERANCE
        yield compared(f"{name}, outputs", parity.compare(ours.outputs, theirs.outputs), tolerance)
        if not theirs.gradients:
            continue
        whole = parity.compare_whole(ours.gradients, theirs.gradients)
        if tf32:  # how far apart is a measurement: rounding flips many a ReLU
            yield Row(f"{name}, gradients", isfinite(whole.value), f"{whole.value:.1e} apart")
            continue
        worst = parity.compare(ours.gradients, theirs.gradients)
        yield compared(f"{name}, gradients", whole, parity.ALL_GRADIENTS_TOLERANCE)
        yield compared(f"{name}, a gradient", worst, parity.GRADIENT_TOLERANCE)


def reference(target: Target, case: Case, deadline: Deadline) -> parity.NetOutput:
    """Return the CPU's answer to a case, of plain layers: the kept one, or a new one, which is kept."""
    folder = target.references or target.folder
    path, key = folder / f"{case.name}.npz", parity.key(case)
    answer = parity.NetOutput.load(path, key)
    if answer is None:
        options = {"timeout": deadline.left(), "environment": CPU.environment}
        answer = run_isolated(parity.net_answer, case, "plain", CPU, **options)
        folder.mkdir(parents=True, exist_ok=True)
        answer.save(path, key)
    return answer


def reference_cases(target: Target) -> list[Case]:
    """Return the cases that are compared with the CPU."""
    training_cases = [target.case(name, True, target.sizes.parity) for name in (NET, *OTHER_NETS)]
    return [*training_cases, target.case(NET, False, target.sizes.tile)]


def compared(name: str, distance: parity.Distance, tolerance: float) -> Row:
    """Return the row of a comparison."""
    where = f" ({distance.blob})" if distance.value else ""
    words = f"{distance.value:.1e} of {tolerance:.0e}{where}"
    return Row(name, distance.within(tolerance), words, {"distance": distance.value})
