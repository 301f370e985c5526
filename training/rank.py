"""One rank of a training run: a process with a solver on one GPU, or on the CPU."""

import math
import os
import resource
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from common.errors import DFCNetError, OutputError, RunError
from common.files import staged_file
from common.signals import end_with_parent
from prototxt_gen.model_card import write_card
from training import snapshots
from training.communicators import PMI_SOCKET, Communicator, LocalCommunicator, MPICommunicator
from training.loss_meter import LossMeter
from training.pycaffe import compute_on, divert_native_log, import_caffe
from training.run import Run
from training.snapshots import Snapshot
from training.weights import Coverage, load_weights

Validate = Callable[[object, object], dict]  # (caffe, the solver's net) -> {"miou": ..., ...}


@dataclass(frozen=True)
class RankOptions:
    """What a rank is given: its GPU (None: CPU), what to begin with, and how to validate.

    Later weights replace what earlier ones have loaded. `resume` counts before them.
    """

    gpu: int | None = None
    weights: tuple[Path, ...] = ()
    coverage: Coverage = Coverage.PARTIAL
    resume: Snapshot | None = None
    validate: Validate | None = None


def train_rank(
    gpu: int | None, place: tuple[int, int] | None, parent: Connection, launcher: int | None = None
) -> None:
    """Train to exactly max_iter, or until the parent says stop; `place` is (number, count), None under MPI.

    `launcher` is the descriptor of the launcher's socket in this process, where it has one.
    Sends "place" and waits for (run, options), or None where there is nothing to do. Then rank 0 sends "uid",
    "loaded", "resumed", "ready", "step", "validated", "snapshot", "stopped" and "done" messages. An error
    that a user can fix is sent as ("error", error) by any rank.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    end_with_parent()  # in a sum over ranks it would wait for ever
    if launcher is not None:
        os.environ[PMI_SOCKET] = str(launcher)
    try:
        communicator = (
            MPICommunicator(gpu is not None) if place is None else LocalCommunicator(*place, parent)
        )
    except DFCNetError as error:
        parent.send(("error", error))
        os._exit(2)
    parent.send(("place", communicator.rank))
    if (order := parent.recv()) is None:
        return
    run, options = order
    communicator.begin()
    log = run.caffe_log(communicator.rank)
    try:
        stderr = divert_native_log(log)
    except OSError as error:
        remedy = "make room or give the rights, then continue with --resume"
        parent.send(("error", OutputError(log, f"cannot be written ({error.strerror})", remedy)))
        os._exit(2)
    code = 0
    try:
        _train(run, replace(options, gpu=gpu), communicator, parent)
    except DFCNetError as error:
        parent.send(("error", error))
        code = 2
    except Exception:
        traceback.print_exc(file=stderr)
        code = 1
    if code:
        stderr.flush()
        os._exit(code)  # not through MPI's farewell, which waits for ranks that wait for this one


def _train(run: Run, options: RankOptions, communicator: Communicator, parent: Connection) -> None:
    settings = run.experiment.solver
    first = communicator.rank == 0

    def report(*message: object) -> None:
        if first:
            parent.send(message)

    caffe = import_caffe(verbose=True)
    _choose_device(caffe, options.gpu, communicator)
    solver = caffe.get_solver(str(run.solver))
    resume, weights = communicator.broadcast((options.resume, options.weights))
    options = replace(options, resume=resume, weights=weights)
    _begin(run, options, solver, communicator.size, report)
    if first and options.resume:
        snapshots.drop_after(run.snapshots, solver.iter)
    joined = communicator.join(caffe, solver)  # kept: Caffe holds a bare pointer to it
    meter = LossMeter(solver.net, run.experiment.task_names())
    report("ready", solver.iter, communicator.size)
    while solver.iter < settings.max_iter:
        rate = solver.lr
        solver.step(1)
        loss = meter.take()
        if first:
            _refuse_no_number(run, solver.iter, loss.task)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            report("step", solver.iter, loss.task, rate, loss.data_wait, memory)
        parent.send(("sync", solver.iter))
        stop = communicator.agree(parent.recv())
        ended = stop or solver.iter == settings.max_iter
        saved = None
        if first and (settings.due(settings.snapshot, solver.iter) or ended):
            saved = _snapshot(run, solver, communicator.size)
            report("snapshot", solver.iter)
        due = settings.due(settings.validate_every, solver.iter) or ended
        if first and options.validate and due and not stop:
            scores = options.validate(caffe, solver.net)
            report("validated", solver.iter, scores)
            if saved:
                snapshots.add_score(saved, scores["miou"])
        if saved:
            snapshots.prune(run.snapshots, settings.keep_snapshots)
        if stop:
            report("stopped", solver.iter)
            communicator.agree(True)  # a launcher ends all ranks with the first: wait for the snapshot
            break
    if first and solver.iter == settings.max_iter:
        _write_weights(run, solver)
        report("done", solver.iter)
    del joined


def _choose_device(caffe, gpu: int | None, communicator: Communicator) -> None:
    compute_on(caffe, gpu)
    # Before the solver is made: it draws from random_seed + rank, Data layers take every count-th record.
    caffe.set_solver_count(communicator.size)
    caffe.set_solver_rank(communicator.rank)
    caffe.set_multiprocess(communicator.size > 1)


def _begin(run: Run, options: RankOptions, solver, ranks: int, report: Callable) -> None:
    """Load the snapshot to continue from, or the weights to start from, in every rank."""
    if options.resume is None:
        for path in options.weights:
            report("loaded", path, load_weights(solver.net, path, options.coverage, run.experiment))
        return
    load_weights(solver.net, options.resume.weights)
    solver.restore(str(options.resume.state))
    # The data's cursor and its random draws are not part of Caffe's state.
    solver.net.advance_data(solver.iter * run.experiment.iter_size(ranks))
    report("resumed", options.resume, solver.iter, ranks)


def _write_weights(run: Run, solver) -> None:
    with staged_file(run.weights) as staged:
        solver.net.save(str(staged))
        snapshots.check_weights(solver, staged)  # Caffe does not notice a full disk
    write_card(run.weights, run.card(solver.iter))


def _snapshot(run: Run, solver, ranks: int) -> Snapshot:
    for name, blobs in solver.net.params.items():
        if not all(np.isfinite(blob.data).all() for blob in blobs):
            raise _no_number(run, f"the weights of layer {name} are not numbers", solver.iter)
    return snapshots.write(solver, run.snapshots, ranks, run.card(solver.iter))


def _refuse_no_number(run: Run, iteration: int, loss: dict[str, float]) -> None:
    for task, value in loss.items():
        if not math.isfinite(value):
            raise _no_number(run, f"the {task} loss is {value}", iteration)


def _no_number(run: Run, fact: str, iteration: int) -> RunError:
    last = snapshots.newest(run.snapshots, lambda line: None)
    kept = f"the last good snapshot is {last.folder}" if last else "there is no snapshot yet"
    return RunError(
        run.folder,
        f"{fact} at iteration {iteration}; {kept}",
        "lower base_lr, set clip_gradients, or look for broken records in the database",
    )
