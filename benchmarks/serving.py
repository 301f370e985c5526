"""A row of the speed benchmark in a process of its own: it runs on command, and reports time and memory.

Commands come as lines on stdin, answers go as lines of JSON to stdout. Needs only numpy, so that it runs
in any Python.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Runner = Callable[[], dict[str, np.ndarray]]


def serve(kinds: dict[str, Callable[[Path, int], Runner]]) -> None:
    """Serve `KIND FOLDER THREADS` of the command line: make the runner, then obey until stdin ends.

    "run" runs it once; "save FILE" writes its last answers as .npz. Where a package is missing, the first
    answer says so.
    """
    kind, folder, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print stays out of the answers
    last: dict[str, np.ndarray] = {}
    try:
        runner = kinds[kind](Path(folder), int(threads))
    except ModuleNotFoundError as error:
        print(json.dumps({"missing": str(error.name)}), file=answers)
        return
    print(json.dumps({"ready": kind}), file=answers)
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        if command == "save":
            np.savez(path, **last)
        begin = time.perf_counter()
        if command == "run":
            last = runner()
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "peak": peak_bytes()}), file=answers)


def peak_bytes() -> int:
    """Return the most memory that this process has had resident.

    Linux hands getrusage's number on to a new program, from the one that started it: VmHWM is its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
