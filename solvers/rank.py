"""One rank of a training run: a process with a solver on one GPU, or on the CPU."""

import math
import multiprocessing
import os
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from prototxt_gen.errors import DFCNetError, RunError
from prototxt_gen.files import staged_file
from prototxt_gen.model_card import write_card
from solvers.pycaffe import divert_native_log, import_caffe
from solvers.run import Run
from solvers.weights import Fit, load_weights


@dataclass(frozen=True)
class Rank:
    """What a rank is told: its number, how many there are, its GPU (None: CPU), weights to start from.

    Later weights replace what earlier ones have loaded.
    """

    number: int
    count: int
    gpu: int | None
    weights: tuple[Path, ...]
    fit: Fit


def train_rank(run: Run, rank: Rank, parent: Connection) -> None:
    """Train to exactly max_iter. Rank 0 sends "uid", "loaded", "ready", "step" and "done" messages.

    A step's losses are those of the last pass of this rank alone.

    An error that a user can mend is sent as ("error", error) by any rank; the exit code is then 2.
    """
    _end_with_parent()
    stderr = divert_native_log(run.caffe_log(rank.number))
    try:
        _train(run, rank, parent)
    except DFCNetError as error:
        parent.send(("error", error))
        sys.exit(2)
    except Exception:
        sys.stderr = stderr
        raise


def _end_with_parent() -> None:
    """End this rank when its parent is gone, however it went: in a sum over GPUs it would wait for ever."""

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _train(run: Run, rank: Rank, parent: Connection) -> None:
    caffe = import_caffe(verbose=True)
    _choose_device(caffe, rank)
    solver = caffe.get_solver(str(run.solver))
    for path in rank.weights:
        found = load_weights(solver.net, path, rank.fit)
        if rank.number == 0:
            parent.send(("loaded", path, found))
    # Caffe keeps a bare pointer to it: it must live as long as the solver steps.
    nccl = _join_ranks(caffe, solver, rank, parent) if rank.count > 1 else None
    parent.send(("ready",))
    losses = [name for name in solver.net.outputs if name.endswith("_loss")]
    settings = run.experiment.solver
    while solver.iter < settings.max_iter:
        rate = solver.lr
        solver.step(1)  # a snapshot, where one is due, is written inside, by rank 0 alone
        if rank.number == 0:
            loss = {name.removesuffix("_loss"): float(solver.net.blobs[name].data) for name in losses}
            _refuse_no_number(run, solver.iter, loss)
            parent.send(("step", solver.iter, loss, rate))
    if rank.number == 0:
        with staged_file(run.weights) as staged:
            solver.net.save(str(staged))
        write_card(run.weights, run.card(solver.iter))
        parent.send(("done", solver.iter))
    del nccl


def _choose_device(caffe, rank: Rank) -> None:
    if rank.gpu is None:
        caffe.set_mode_cpu()
        return
    caffe.set_device(rank.gpu)
    caffe.set_mode_gpu()
    caffe.set_solver_count(rank.count)
    caffe.set_solver_rank(rank.number)
    caffe.set_multiprocess(True)


def _join_ranks(caffe, solver, rank: Rank, parent: Connection):
    """Sum gradients over NCCL and return what does it, to be kept while the solver steps.

    Rank 0 makes the id, as bytes; the parent hands it to the others.
    """
    if rank.number == 0:
        uid = caffe.NCCL.new_uid()
        parent.send(("uid", uid))
    else:
        uid = parent.recv()
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    return nccl


def _refuse_no_number(run: Run, iteration: int, loss: dict[str, float]) -> None:
    for task, value in loss.items():
        if not math.isfinite(value):
            raise RunError(
                run.folder,
                f"the {task} loss is {value} at iteration {iteration}",
                "lower base_lr, set clip_gradients, or look for broken records in the database",
            )
