"""Functions and commands in processes of their own, which may die: a CHECK inside Caffe ends the process."""

import multiprocessing
import os
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from common.signals import end_with_parent, postponed_signals
from training.pycaffe import last_words

NO_END = "there was no end"  # of a command that was killed


class ProcessDied(Exception):
    """The process ended without an answer; the text says how, with Caffe's last words."""


class Worker:
    """A process that calls functions one after another, and a new one after it has died.

    `environment` is added to this process's; `log` gets what is written to stderr (None: a temporary file).
    Whatever the process has started ends with it, and it with this one.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, log: Path | None = None) -> None:
        """Take what is needed to start the process; the first call does it."""
        self._environment = dict(environment or {})
        self._temporary = None if log else tempfile.TemporaryDirectory(prefix="worker_")
        self._log = log or Path(self._temporary.name, "log")
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def call(self, function: Callable, *arguments: object, timeout: float) -> object:
        """Return function(*arguments); ProcessDied if it raises, aborts or takes over `timeout` seconds."""
        if self._process is None:
            self._start()
        kind, answer = "died", ""
        try:
            self._pipe.send((function, arguments))
            if not self._pipe.poll(timeout):
                raise ProcessDied(f"no answer after {timeout:.0f} s")
            kind, answer = self._pipe.recv()
        except (EOFError, BrokenPipeError):
            self._process.join()
            code, words = self._process.exitcode, last_words(self._log.read_text(errors="replace"))
            outcome = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise ProcessDied(f"{outcome}: {words[:300] or 'it said nothing'}") from None
        finally:
            if kind == "died":
                self.close()
        if kind == "error":
            raise ProcessDied(answer)
        return answer

    def close(self) -> None:
        """End the process with all that it has started."""
        if self._process is not None:
            _kill_group(self._process.pid)
            self._process.join()
            self._pipe.close()
        self._process = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()
        if self._temporary:
            self._temporary.cleanup()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self._pipe, worker_end = context.Pipe()
        self._log.touch()
        self._process = context.Process(target=_serve, args=(worker_end, str(self._log)), daemon=True)
        before = dict(os.environ)
        os.environ.update(self._environment)
        try:
            with postponed_signals():
                self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        worker_end.close()


def run_isolated(function: Callable, *arguments: object, timeout: float, **options: object) -> object:
    """Return function(*arguments), run in a `Worker` made with `options`; raise ProcessDied as it does."""
    with Worker(**options) as worker:
        return worker.call(function, *arguments, timeout=timeout)


def run_command(
    command: Sequence[object], timeout: float, environment: Mapping[str, str | None] | None = None
) -> tuple[str, str, int]:
    """Return what a command says on stdout and stderr, and its exit code; kill it after `timeout` seconds.

    Whatever it has started ends with it. `environment` is added to this process's; None removes a variable.
    """
    variables = {**os.environ, **(environment or {})}
    with subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        env={name: value for name, value in variables.items() if value is not None},
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
            out, err = process.communicate()
            err += f"\nafter {timeout:.0f} s {NO_END}"
        except BaseException:
            _kill_group(process.pid)
            raise
    return out, err, process.returncode


def checked_command(
    command: Sequence[object], timeout: float, environment: Mapping[str, str | None] | None = None
) -> str:
    """Return what a command prints; raise ProcessDied with its last line if it fails or does not end."""
    out, err, code = run_command(command, timeout, environment)
    if code:
        lines = (err.strip() or out.strip()).splitlines()
        raise ProcessDied(lines[-1] if lines else f"exit code {code}, and it said nothing")
    return out


def _serve(parent: Connection, log: str) -> None:
    os.setsid()
    end_with_parent()
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    while True:
        try:
            function, arguments = parent.recv()
        except EOFError:
            return
        try:
            parent.send(("answer", function(*arguments)))
        except Exception as error:
            traceback.print_exc()
            parent.send(("error", f"{type(error).__name__}: {error}"))


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        try:
            os.kill(leader, signal.SIGKILL)  # it has not made its group yet
        except ProcessLookupError:
            return
