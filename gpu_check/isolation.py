"""A function in a process of its own, which may die: Caffe ends the process on whatever it does not like."""

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path


class Died(Exception):
    """The process ended without an answer; the text says how, with Caffe's last words."""


def isolated(function: Callable, *arguments: object, timeout: float = 600) -> object:
    """Return function(*arguments), run in a spawned process; raise Died if it raises, aborts or hangs.

    `timeout` is in seconds. Spawned, not forked: CUDA does not survive a fork.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = context.Process(target=_call, args=(function, arguments, theirs, log.name), daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(timeout):
                raise Died(f"no answer after {timeout:g} s")
            kind, answer = ours.recv()
        except EOFError:
            process.join()
            raise Died(f"{_how(process.exitcode)}: {_last_words(Path(log.name))}") from None
        finally:
            process.kill()
            process.join()
    if kind == "error":
        raise Died(answer)
    return answer


def _call(function: Callable, arguments: tuple, parent: Connection, log: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 2)
    try:
        parent.send(("answer", function(*arguments)))
    except Exception as error:
        traceback.print_exc()
        parent.send(("error", f"{type(error).__name__}: {error}"))


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("F")] or lines[-1:]
    return fatal[-1].strip()[:300] if fatal else "it said nothing"
