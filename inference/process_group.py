"""Scenes shared over the processes of mpirun, or one process that has them all."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from common.errors import DFCNetError
from common.numbers import check_number
from training.communicators import MAX_THREADS, cores_per_rank, mpi_rank_and_size, mpi_world, threads_wanted

T = TypeVar("T")


class ProcessGroup:
    """The processes at work: this one's `rank` of `size`. As a context it ends all where one breaks.

    A mistake in the input does not break it: it is gathered like any other outcome.
    """

    def __init__(self) -> None:
        """Join the others, if mpirun has started this process."""
        self.rank, self.size, self._comm = 0, 1, None
        if mpi_rank_and_size() is not None:
            self._comm = mpi_world().COMM_WORLD
            self.rank, self.size = self._comm.rank, self._comm.size

    def from_rank_0(self, make: Callable[[], T]) -> T:
        """Return in all ranks what `make` returns in rank 0; a DFCNetError there is raised in all."""
        if self._comm is None:
            return make()
        message = None
        if self.rank == 0:
            try:
                message = make(), None
            except DFCNetError as error:
                message = None, error
        result, error = self._comm.bcast(message)
        if error is not None:
            raise error
        return result

    def gather(self, outcome: T) -> list[T]:
        """Return in all ranks every rank's `outcome`, by number; waits for all of them."""
        return [outcome] if self._comm is None else self._comm.allgather(outcome)

    def __enter__(self) -> "ProcessGroup":
        """Begin the common work."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """End all ranks where this one breaks off: the others would wait for it without end."""
        if self._comm is None or error is None or isinstance(error, DFCNetError):
            return
        if isinstance(error, Exception):
            sys.excepthook(kind, error, trace)
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        sys.stderr.flush()
        self._comm.Abort(code)


def assign_scenes(sizes: Sequence[int], ranks: int) -> list[list[int]]:
    """Return for each rank the numbers of its scenes, in order: the largest first, to the least loaded."""
    loads, parts = [0] * ranks, [[] for _ in range(ranks)]
    for number in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        rank = loads.index(min(loads))
        loads[rank] += max(sizes[number], 1)
        parts[rank].append(number)
    return [sorted(part) for part in parts]


def set_threads(threads: int | None) -> None:
    """Set how many threads a backend uses, before it is loaded; None: an equal share of this machine's cores.

    An OPENBLAS_NUM_THREADS or OMP_NUM_THREADS of the user's own stays where `threads` is None.
    """
    if threads is not None:
        check_number("--threads", threads, 1, MAX_THREADS)
        os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
        return
    cores = threads_wanted() or cores_per_rank()
    if cores:
        os.environ["OPENBLAS_NUM_THREADS"] = str(cores)
