"""What a run says: progress on the console, and one JSON object per display step in its log."""

import errno
import io
import json
import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from common.errors import OutputError
from common.numbers import plural
from prototxt_gen.models import TRAIN, build
from training.run import Run
from training.snapshots import Snapshot
from training.weights import WeightsMatch


class ProgressLog:
    """Takes rank 0's messages. Losses and speeds are means since the last line; losses are rank 0's share.

    `quiet` says and writes nothing: for the processes of mpirun beside the first. `failure` is the error of
    a log that cannot be written any more, as on a full disk.
    """

    def __init__(self, run: Run, quiet: bool = False) -> None:
        self.run, self.solver, self.quiet = run, run.experiment.solver, quiet
        self.iteration = 0
        self.failure: OutputError | None = None
        self._clear()

    def __enter__(self) -> "ProgressLog":
        """Open the log and the progress bar; OutputError where the log cannot be written."""
        path = os.devnull if self.quiet else self.run.log
        try:
            if not self.quiet and self.run.log.exists():
                _drop_cut_off_line(self.run.log)
            self.log = open(path, "ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        self.bar = tqdm(total=self.solver.max_iter, unit="it", disable=self.quiet or not sys.stderr.isatty())
        return self

    def __exit__(self, *_: object) -> None:
        """Close both."""
        self.bar.close()
        self.log.close()

    def take(self, kind: str, *content: object) -> None:
        """Take a message: its kind, and what the method of that name takes."""
        getattr(self, f"_{kind}")(*content)

    def say(self, line: str) -> None:
        """Print a line, above the progress bar where there is one."""
        try:
            if not self.bar.disable:
                self.bar.write(line)
            elif not self.quiet:
                print(line, flush=True)
        except BrokenPipeError:  # nobody reads, as after `| head`: the training goes on, its log has all
            sys.stdout = io.StringIO()

    def _clear(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps, self._waited, self._since = 0, 0.0, time.monotonic()

    def _write(self, **entry: object) -> None:
        """Add a line to the log, whole or cut off at the end: the next resume drops it."""
        if self.failure:
            return
        try:
            line = f"{json.dumps(entry)}\n".encode()
            if self.log.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.failure = self._unwritable(error)

    def _unwritable(self, error: OSError) -> OutputError:
        remedy = "make room or give the rights, then continue with --resume"
        return OutputError(self.run.log, f"cannot be written ({error.strerror})", remedy)

    def _loaded(self, path: Path, match: WeightsMatch) -> None:
        for line in match.lines(build(self.run.experiment, TRAIN).plain.parts()):
            self.say(f"{path}: {line}")

    def _resumed(self, snapshot: Snapshot, iteration: int, ranks: int) -> None:
        self.say(f"continuing from {snapshot.folder}, iteration {iteration}")
        if snapshot.ranks != ranks:
            was = f"{snapshot.folder} is of {plural(snapshot.ranks, 'rank')}, now the run has {ranks}"
            self.say(f"warning: {was}: the samples are not those of a run that was never stopped")

    def _ready(self, iteration: int, ranks: int) -> None:
        self.bar.update(iteration)
        seed, name = self.solver.random_seed, self.run.experiment.name
        self._write(start=iteration, seed=seed, experiment=name, ranks=ranks)
        self._clear()

    def _step(
        self, iteration: int, loss: dict[str, float], rate: float, data_wait: float, memory: int
    ) -> None:
        self.bar.update()
        self.iteration = iteration
        self._steps += 1
        self._waited += data_wait
        for task, value in loss.items():
            self._sums[task] = self._sums.get(task, 0.0) + value
        if iteration % self.solver.display and iteration != self.solver.max_iter:
            return
        seconds = time.monotonic() - self._since
        means = {task: total / self._steps for task, total in self._sums.items()}
        entry = {
            "iteration": iteration,
            "loss": means,
            "total_loss": sum(
                self.run.experiment.tasks[task].loss_weight * mean for task, mean in means.items()
            ),
            "lr": rate,
            "images_per_second": self.solver.batch_size * self._steps / seconds,
            "data_wait": self._waited / seconds,  # share of the time
            "memory": memory,  # bytes, the most that rank 0's process has held
        }
        self._write(**entry)
        left = (self.solver.max_iter - iteration) * seconds / self._steps
        losses = "  ".join(f"{task} {value:.4f}" for task, value in means.items())
        self.say(
            f"iteration {iteration}/{self.solver.max_iter}  loss: {losses}  lr {rate:.3g}  "
            f"{entry['images_per_second']:.1f} images/s  {tqdm.format_interval(left)} left"
        )
        self._clear()

    def _validated(self, iteration: int, scores: dict) -> None:
        self._write(iteration=iteration, validation=scores)
        tasks = "  ".join(f"{task} {_percent(value['miou'])}" for task, value in scores["tasks"].items())
        self.say(f"iteration {iteration}  validation mIoU: {tasks}")

    def _snapshot(self, iteration: int) -> None:
        self._write(iteration=iteration, snapshot=True)

    def _stopped(self, iteration: int) -> None:
        self.say(f"stopped at iteration {iteration}, snapshot written; --resume continues from there")

    def _done(self, iteration: int) -> None:
        self.say(f"{self.run.weights}: weights after {plural(iteration, 'iteration')}")


def _percent(share: float | None) -> str:
    return "undefined (no labelled pixel)" if share is None else f"{100 * share:.2f} %"


def _drop_cut_off_line(log: Path) -> None:
    """Remove a last line that an interrupted write has left without its end."""
    content = log.read_bytes()
    if not content.endswith(b"\n"):
        with log.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
