"""Trains a run: one spawned process per rank, watched by this one, which reports and keeps the log."""

import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tqdm import tqdm

from prototxt_gen.errors import ExperimentError, RunError
from solvers.pycaffe import import_caffe
from solvers.rank import Rank, train_rank
from solvers.run import Run
from solvers.weights import Fit, Match


def check_devices(gpus: Sequence[int]) -> None:
    """Raise ExperimentError if GPUs are asked of a Caffe that was built without them."""
    if gpus and not import_caffe().has_nccl():
        raise ExperimentError(
            "--gpus", "this Caffe was built for the CPU alone", "use --cpu, or build it for CUDA"
        )


def train(run: Run, gpus: Sequence[int], weights: Sequence[Path] = (), fit: Fit = Fit.PART) -> None:
    """Train `run` on the given GPUs, or on the CPU if there are none; return when the weights are written.

    Raises the error that a rank met, or RunError if a rank died; the other ranks are ended.
    """
    # Spawned, not forked: CUDA does not survive a fork.
    context = multiprocessing.get_context("spawn")
    devices = list(gpus) or [None]
    ranks, pipes = [], []
    for number, gpu in enumerate(devices):
        ours, theirs = context.Pipe()
        rank = Rank(number, len(devices), gpu, tuple(weights), fit)
        process = context.Process(
            target=train_rank, args=(run, rank, theirs), name=f"rank {number}", daemon=True
        )
        process.start()
        theirs.close()  # here; closed in the rank too, the pipe ends when the rank ends
        ranks.append(process)
        pipes.append(ours)
    try:
        with Report(run) as report:
            report.say(run.summary())
            _watch(run, ranks, pipes, report)
    finally:
        for process in ranks:
            process.terminate()
        for process in ranks:
            process.join(timeout=10)
            process.kill()


def _watch(run: Run, ranks: list, pipes: list[Connection], report: "Report") -> None:
    """Pass on what the ranks send until all have ended well."""
    open_pipes = dict(zip(pipes, ranks, strict=True))
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
            if kind == "error":
                raise content[0]
            if kind == "uid":
                _hand_on(*content, pipes[1:])
            elif pipe is pipes[0]:
                report.take(kind, *content)


def _hand_on(uid: bytes, pipes: list[Connection]) -> None:
    """Give the NCCL id to the other ranks; one that has died already is found when its pipe is read."""
    for pipe in pipes:
        with suppress(BrokenPipeError):
            pipe.send(uid)


def _death(run: Run, process) -> RunError:
    """Explain the end of a rank that said nothing: Caffe's last words are in its log."""
    log = run.caffe_log(int(process.name.split()[-1]))
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    fatal = [line for line in lines if line.startswith("F")] or lines[-1:]
    how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit code {process.exitcode}"
    words = f"; Caffe's last words: {fatal[0].strip()}" if fatal else ""
    return RunError(run.folder, f"{process.name} ended with {how}{words}", f"see {log}")


class Report:
    """Progress on the console and one JSON line per display step in the log."""

    def __init__(self, run: Run) -> None:
        self.run, self.solver = run, run.experiment.solver
        self.sums: dict[str, float] = {}
        self.steps, self.images, self.since = 0, 0, time.monotonic()

    def __enter__(self) -> "Report":
        """Open the log and the progress bar."""
        self.log = self.run.log.open("a", encoding="utf-8", buffering=1)
        self.bar = tqdm(total=self.solver.max_iter, unit="it", disable=not sys.stderr.isatty())
        return self

    def __exit__(self, *_: object) -> None:
        """Close both."""
        self.bar.close()
        self.log.close()

    def take(self, kind: str, *content: object) -> None:
        """Take a message of rank 0."""
        {"loaded": self._loaded, "ready": self._ready, "step": self._step, "done": self._done}[kind](*content)

    def _loaded(self, path: Path, found: Match) -> None:
        for line in found.lines():
            self.say(f"{path}: {line}")

    def _ready(self) -> None:
        self.since = time.monotonic()

    def _step(self, iteration: int, loss: dict[str, float], rate: float) -> None:
        self.bar.update()
        self.steps += 1
        for task, value in loss.items():
            self.sums[task] = self.sums.get(task, 0.0) + value
        if iteration % self.solver.display and iteration != self.solver.max_iter:
            return
        now = time.monotonic()
        seconds = (now - self.since) / self.steps
        entry = {
            "iteration": iteration,
            "loss": {task: total / self.steps for task, total in self.sums.items()},
            "lr": rate,
            "images_per_second": self.solver.batch_size / seconds,
        }
        self.log.write(json.dumps(entry) + "\n")
        self.say(self._line(entry, (self.solver.max_iter - iteration) * seconds))
        self.sums, self.steps, self.since = {}, 0, now

    def _line(self, entry: dict, left: float) -> str:
        losses = "  ".join(f"{task} {value:.4f}" for task, value in entry["loss"].items())
        return (
            f"iteration {entry['iteration']}/{self.solver.max_iter}  loss: {losses}  lr {entry['lr']:.3g}  "
            f"{entry['images_per_second']:.1f} images/s  {tqdm.format_interval(left)} left"
        )

    def _done(self, iteration: int) -> None:
        self.say(f"{self.run.weights}: weights after {iteration} iterations")

    def say(self, line: str) -> None:
        """Print a line, above the progress bar where there is one."""
        self.bar.write(line) if not self.bar.disable else print(line, flush=True)
