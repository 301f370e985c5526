"""Signals that ask a command to end, kept from the wrong moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)


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
