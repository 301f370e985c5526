"""Signals that end processes: kept from the wrong moment, or sent where a parent is gone."""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)
PR_SET_PDEATHSIG = 1  # of prctl(2)


def end_with_parent() -> None:
    """Have the kernel kill this process, one of multiprocessing's, when its parent is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != multiprocessing.parent_process().pid:  # gone already
        os._exit(1)


@contextmanager
def postponed_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM take effect after the block: around the start of processes.

    An exception in the middle of a start would leave a process that nobody knows and that waits for its
    parent, for which Python 3.13 waits at its own end. Blocking the signals is not enough: other threads,
    as those of OpenBLAS, would take them.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread
        yield
        return
    caught: list[int] = []
    before = {number: signal.signal(number, lambda got, _: caught.append(got)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])
