"""Trains a run: one spawned process per rank, watched by this one, which reports and keeps the log.

Under mpirun each of its processes runs this with one rank of its own.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from common.errors import DFCNetError, ExperimentError, RunError
from common.locks import lock
from common.signals import postponed_signals
from prototxt_gen.emit import Command
from prototxt_gen.experiment import Experiment
from training import snapshots
from training.communicators import LauncherSocket, busy_hint, local_rank, mpi_rank_and_size
from training.gpus import check_gpus, out_of_memory
from training.progress import ProgressLog
from training.provenance import initial_weights
from training.pycaffe import LOG_START, last_words
from training.rank import RankOptions, train_rank
from training.run import Run, open_run, overlapping_scenes

Processes = dict[Connection, BaseProcess]  # by the pipe to each


def start(
    exp: Experiment,
    folder: Path,
    gpus: Sequence[int],
    options: RankOptions,
    overwrite: bool,
    resume: bool,
    command: Command | None = None,
) -> int:
    """Make or reopen the run's folder and train in it; return the exit code, see `train`.

    `command` is what the headers of its prototxts name.
    """
    check_gpus("--gpus", gpus, "use --cpu")
    place = mpi_rank_and_size()
    if place and resume and overwrite:
        raise ExperimentError("--resume", "and --overwrite under mpirun", "give one of the two")
    number, count = place or (0, len(gpus) or 1)
    with ExitStack() as stack:
        ranks = None
        if place:
            try:  # before anything is written: MPI may not have the launcher's ranks
                ranks = stack.enter_context(_ranks(gpus))
            except DFCNetError:
                if number == 0:
                    raise
                return 2
        if number:  # the first of mpirun's processes makes the folder and chooses the snapshot
            run = Run(exp, folder)
            return _dismiss(ranks) if resume and run.is_done() else train(run, gpus, options, ranks=ranks)
        with run_lock(folder):
            begin = (options.weights, options.coverage, overwrite, resume, command)
            run = open_run(exp, folder, count, bool(gpus), *begin)
        with run_lock(folder):  # it may be a new one
            if resume and run.is_done():
                print(f"{run.weights}: trained already")
                return _dismiss(ranks)
            return train(run, gpus, options, resume, ranks)


def _dismiss(ranks: Processes | None) -> int:
    """Let ranks of mpirun that have nothing to do end well."""
    for pipe, process in (ranks or {}).items():
        pipe.send(None)
        process.join()
    return 0


def train(
    run: Run,
    gpus: Sequence[int] = (),
    options: RankOptions | None = None,
    resume: bool = False,
    ranks: Processes | None = None,
) -> int:
    """Train `run` on the given GPUs, or on the CPU if there are none; return 0 once the weights are written.

    With `resume`, continue from the newest whole snapshot, if there is one. SIGTERM and Ctrl-C end the
    current iteration, write a snapshot and return 128 + the signal's number; a Ctrl-C after that ends at
    once. Raises the error that a rank met, or RunError if a rank died; the other ranks are ended. Where the
    log cannot be written, ends with a snapshot and raises OutputError. `ranks` have been started already.
    """
    options, place = options or RankOptions(), mpi_rank_and_size()
    with ProgressLog(run, quiet=bool(place and place[0])) as progress, _stop_signals() as stop:
        progress.say(run.summary())
        if not gpus and not progress.quiet and (hint := busy_hint()):
            progress.say(hint)
        for line in () if progress.quiet else overlapping_scenes(run.experiment):
            progress.say(f"warning: {line}")
        if resume:
            options = replace(options, resume=snapshots.newest(run.snapshots, progress.say))
            if options.resume is None and not options.weights:  # stopped before its first snapshot
                options = replace(options, weights=initial_weights(run.folder))
        with nullcontext(ranks) if ranks else _ranks(gpus) as processes:
            _send((run, options), processes)
            _watch(run, processes, progress, stop)
        if progress.failure:
            raise progress.failure
    return 128 + stop[0] if stop else 0


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a run's folder, if it is there, for this process; RunError if another one trains in it."""
    if not folder.is_dir():
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle, folder)
    except BlockingIOError:
        os.close(handle)
        raise RunError(folder, "another process trains there", "wait for it, or stop it") from None
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Yield a list that the first SIGTERM or SIGINT is put into; a SIGINT after it raises KeyboardInterrupt.

    A SIGTERM after it changes nothing: make passes on the one that its process group has got already.
    """
    caught: list[int] = []

    def catch(number: int, _: object) -> None:
        if not caught:
            caught.append(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    former = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _ranks(gpus: Sequence[int]) -> Iterator[Processes]:
    """Spawn this machine's ranks (not fork: CUDA does not survive it); whatever happens, end them."""
    context = multiprocessing.get_context("spawn")
    if mpi_rank_and_size():
        devices = [gpus[local_rank() % len(gpus)]] if gpus else [None]
        places, launcher = [None], LauncherSocket.inherited()
    else:
        devices = list(gpus) or [None]
        places, launcher = [(number, len(devices)) for number in range(len(devices))], None
    ranks: Processes = {}
    try:
        for gpu, place in zip(devices, places, strict=True):
            pipe, rank_end = context.Pipe()
            process = context.Process(target=train_rank, args=(gpu, place, rank_end, launcher), daemon=True)
            with postponed_signals():
                process.start()
            rank_end.close()  # here; closed in the rank too, the pipe ends when the rank ends
            ranks[pipe] = process
        for pipe, process in ranks.items():
            process.name = f"rank {_number_of(pipe, process)}"
        yield ranks
    finally:
        for process in ranks.values():
            process.kill()
            process.join()


def _number_of(pipe: Connection, process: BaseProcess) -> int:
    """Return the number that a rank says it has; raise the error that it met, or RunError if it died."""
    try:
        kind, content = pipe.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        fact = f"ended with exit code {process.exitcode} before it began"
        raise RunError("a rank", fact, "see what it printed, and whether MPI works here") from None
    if kind == "error":
        raise content
    return content


def _watch(run: Run, ranks: Processes, progress: ProgressLog, stop: list[int]) -> None:
    """Pass on what the ranks send, and keep them in step, until all have ended well."""
    open_pipes = dict(ranks)
    waiting: list[Connection] = []  # ranks that have finished an iteration and ask whether to go on
    while open_pipes:
        for pipe in wait(list(open_pipes)):
            try:
                kind, *content = pipe.recv()
            except (EOFError, ConnectionResetError):
                process = open_pipes.pop(pipe)
                process.join()
                if process.exitcode != 0:
                    raise _death(run, process) from None
                continue
            match kind:
                case "error":
                    raise content[0]
                case "uid":
                    _send(content[0], list(ranks)[1:])
                case "sync":
                    waiting.append(pipe)
                case _:
                    progress.take(kind, *content)
        if len(waiting) == len(ranks):
            _send(bool(stop or progress.failure), waiting)
            waiting.clear()


def _send(message: object, pipes: Iterable[Connection]) -> None:
    """Tell several ranks; one that has died already is found when its pipe is read."""
    for pipe in pipes:
        with suppress(BrokenPipeError):
            pipe.send(message)


def _death(run: Run, process) -> RunError:
    """Explain the end of a rank that said nothing: Caffe's last words are in its log."""
    log = run.caffe_log(int(process.name.split()[-1]))
    text = log.read_text(errors="replace") if log.exists() else ""
    words = last_words(text.split(LOG_START.decode())[-1])
    outcome = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit code {process.exitcode}"
    quoted = f"; Caffe's last words: {words}" if words else ""
    fact = f"{process.name} ended with {outcome}{quoted}"
    return RunError(run.folder, fact, f"{_cause(process, words)} (see {log})")


def _cause(process, words: str) -> str:
    """Return the likely cause of a rank's death, as advice."""
    if out_of_memory(words):
        return "a smaller crop or images_per_pass needs less GPU memory"
    if "mdb_status" in words.lower():
        return "look whether the databases are where the experiment says"
    if -process.exitcode == signal.SIGKILL:
        return (
            "killed from outside, perhaps because memory ran out: --resume continues from the last snapshot"
        )
    return "see its log; --resume continues from the last snapshot"
