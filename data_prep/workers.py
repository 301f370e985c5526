"""Worker processes whose results arrive in the order of their jobs, however many workers there are.

Processes, not threads: decoding listens on file descriptor 2. Pipes and an anonymous memory file, not
multiprocessing's queues and shared memory: those need /dev/shm, which containers leave out or keep small.
ProcessPoolExecutor is as fast (the demo's LMDB in 1.00 times the time), but its semaphores need /dev/shm too,
its workers outlive a parent that is killed, and a worker that dies has no exit code and ends the pool.
"""

import ctypes
import mmap
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

import cv2

from common.errors import DataError, DFCNetError
from common.numbers import check_number
from common.signals import postponed_signals

AHEAD = 3  # jobs a worker has or waits for, so that one slow job does not stop the others
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MAX_WORKERS = 512  # each takes a pipe, a file and memory
JOIN_TIMEOUT = 2  # seconds that a worker has to leave by itself

# Signals by which native code that meets damage ends its process. SIGKILL is not among them: that is memory.
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)

# What a job yields: a small object, pickled through a pipe, and bytes, copied through shared memory.
Result = tuple[Any, bytes | memoryview]


def ordered(
    make: Callable[[Any], Iterator[Result]],
    jobs: Sequence,
    workers: int | None,
    slots: int = 1,
    slot_bytes: int = 0,
    *,
    crashed: Callable[[Any, str], Result] | None = None,
) -> Iterator[Result]:
    """Yield what `make(job)` yields, job by job in the order of `jobs`; bytes are valid until the next one.

    `make` is a function that can be pickled. Without `workers` (None) it runs in this process. Otherwise each
    worker holds at most `slots` results of at most `slot_bytes` bytes that have not been taken: it waits
    when they are full, so memory stays flat. An error of a job is raised where its result would come.

    A job whose worker is ended by one of CRASHES is handed to `crashed` with the signal's name, and what that
    returns is the job's last result; a new worker goes on with the other jobs. Any other death of a worker,
    and a crash without `crashed`, is a DataError.
    """
    if workers is None:
        for job in jobs:
            yield from make(job)
        return
    with ExitStack() as stack:
        count = min(workers, len(jobs))
        team = [stack.enter_context(closing(_Worker(make, slots, slot_bytes))) for _ in range(count)]
        _start(team)
        yield from _collect(team, iter(jobs), crashed)


def check_workers(workers: int | None) -> None:
    """Raise DataError if `workers` is not a number of processes; None is this process."""
    if workers is not None:
        check_number("--workers", workers, 1, MAX_WORKERS)


def refuse_crash(path: object, by: str) -> DataError:
    """Return the error of a file at which the code that reads it was ended by a signal."""
    return DataError(path, f"is damaged (reading it ends in {by})", "fetch or export the file again")


def _collect(team: list["_Worker"], jobs: Iterator, crashed: Callable | None) -> Iterator[Result]:
    """Hand out the jobs, and take the results of the first job, then of the second ..."""
    owners = deque(worker for _ in range(AHEAD) for worker in team if worker.take(jobs))
    while owners:
        worker = owners.popleft()
        yield from worker.results(crashed)
        if worker.take(jobs):
            owners.append(worker)


def _start(team: list["_Worker"]) -> None:
    """Start the processes; they inherit a blocked Ctrl-C: only this process answers to it."""
    resource_tracker.ensure_running()  # its start unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with postponed_signals():
            for worker in team:
                worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """One worker as its parent sees it: a process, a pipe to it, the memory it fills, and the jobs it has."""

    def __init__(self, make: Callable, slots: int, slot_bytes: int) -> None:
        self.make, self.slots, self.slot_bytes = make, slots, slot_bytes
        self.file = os.memfd_create("dfcnet-results")
        os.truncate(self.file, max(slots * slot_bytes, 1))  # a page is taken when it is first written
        self.memory = memoryview(mmap.mmap(self.file, 0))
        self.pipe, self.process = None, None
        self.jobs: deque = deque()  # whose results have not all been taken

    def start(self) -> None:
        context = get_context("spawn")
        self.pipe, worker_end = context.Pipe()
        path = f"/proc/{os.getpid()}/fd/{self.file}"
        arguments = (self.make, worker_end, path, self.slots, self.slot_bytes)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        worker_end.close()

    def take(self, jobs: Iterator) -> bool:
        """Send the next job, if there is one."""
        for job in jobs:
            self.jobs.append(job)
            self._send("job", job)
            return True
        return False

    def results(self, crashed: Callable | None) -> Iterator[Result]:
        """Yield the results of this worker's next job."""
        try:
            while (message := self.pipe.recv()) is not None:
                if isinstance(message, Exception):
                    raise message
                info, slot, length = message
                begin = slot * self.slot_bytes
                yield info, self.memory[begin : begin + length]
                self._send("free", slot)
            self.jobs.popleft()
        except (EOFError, ConnectionError):
            self.process.join(JOIN_TIMEOUT)
            if crashed is None or -(self.process.exitcode or 0) not in CRASHES:
                raise self._died() from None
            yield crashed(self.jobs.popleft(), signal.Signals(-self.process.exitcode).name)
            self._start_again()

    def _start_again(self) -> None:
        """Start another process in the place of one that has crashed, with the jobs that it had left."""
        self.pipe.close()
        _start([self])
        for job in self.jobs:
            self._send("job", job)

    def _send(self, kind: str, content: object) -> None:
        with suppress(OSError):  # it has died: what it did before is read first, then that
            self.pipe.send((kind, content))

    def _died(self) -> DataError:
        fact = f"a worker process died (exit code {self.process.exitcode})"
        return DataError("--workers", fact, "if memory ran out, give fewer")

    def close(self) -> None:
        os.close(self.file)
        if self.process is None or self.process.pid is None:
            return
        self.pipe.close()  # an idle worker leaves at the end of the pipe
        self.process.join(JOIN_TIMEOUT)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _work(make: Callable, pipe: Connection, path: str, slots: int, slot_bytes: int) -> None:
    """Run jobs until the parent closes the pipe, or is gone."""
    cv2.setNumThreads(1)  # the processes are the parallelism
    keep_memory()
    try:
        with open(path, "r+b") as file:
            memory = memoryview(mmap.mmap(file.fileno(), 0))
        inbox = _Inbox(pipe, slots)
        while True:
            _do(make, inbox, memory, slot_bytes)
    except (EOFError, OSError):
        return


def keep_memory() -> None:
    """Let malloc keep what this process frees: a scene's pages anew from the system take 20 ms (glibc)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(option, 1 << 30)


def _do(make: Callable, inbox: "_Inbox", memory: memoryview, slot_bytes: int) -> None:
    """Run one job; an error goes to the parent in place of its results."""
    job = inbox.job()
    outcome = None
    try:
        for info, data in make(job):
            slot = inbox.slot()
            begin = slot * slot_bytes
            if len(data) > slot_bytes:
                raise ValueError(f"{len(data)} bytes for a slot of {slot_bytes}")
            memory[begin : begin + len(data)] = data
            inbox.pipe.send((info, slot, len(data)))
    except (EOFError, ConnectionError):
        raise
    except DFCNetError as error:
        outcome = error
    except Exception:
        outcome = RuntimeError(f"in a worker process\n{traceback.format_exc()}")
    inbox.pipe.send(outcome)


class _Inbox:
    """The worker's end of the pipe: jobs, and slots that the parent has emptied."""

    def __init__(self, pipe: Connection, slots: int) -> None:
        self.pipe = pipe
        self.waiting = {"job": deque(), "free": deque(range(slots))}

    def job(self) -> Any:
        return self._next("job")

    def slot(self) -> int:
        return self._next("free")

    def _next(self, kind: str) -> Any:
        while not self.waiting[kind]:
            arrived, message = self.pipe.recv()
            self.waiting[arrived].append(message)
        return self.waiting[kind].popleft()
