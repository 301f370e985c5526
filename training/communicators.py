"""How ranks work together: alone, over NCCL on one machine's GPUs, or over MPI.

A communicator gives a rank its number, makes all ranks begin with rank 0's weights, averages the gradients of
each update, and lets the ranks agree to stop at the same iteration.
"""

import os
from multiprocessing.connection import Connection
from typing import Protocol

from prototxt_gen.fused_weights import plain_view

# Variables that mpirun sets in its processes: Open MPI, then MPICH and its kin.
RANK = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
SIZE = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
LOCAL_SIZE = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
LOCAL_RANK = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")


def mpi_rank_and_size() -> tuple[int, int] | None:
    """Return (rank, size) of a process that mpirun has started, else None; MPI itself is not begun."""
    rank, size = _variable(RANK), _variable(SIZE)
    return None if rank is None or size is None else (rank, size)


def local_rank() -> int:
    """Return which of mpirun's processes on this machine this one is."""
    return _variable(LOCAL_RANK) or 0


def cores_per_rank() -> int | None:
    """Return how many cores this process may use if mpirun's on this machine get equal shares, else None."""
    local = _variable(LOCAL_SIZE) or 1
    return max(1, len(os.sched_getaffinity(0)) // local) if local > 1 else None


def _variable(names: tuple[str, ...]) -> int | None:
    return next((int(os.environ[name]) for name in names if name in os.environ), None)


class Communicator(Protocol):
    """What the training loop needs of its ranks."""

    rank: int
    size: int

    def join(self, caffe, solver) -> object:
        """Begin with rank 0's weights, average gradients from now on; keep the result while stepping."""

    def agree(self, stop: bool) -> bool:
        """Return True in all ranks if `stop` is True in any; each waits for the others."""

    def broadcast(self, what: object) -> object:
        """Return in all ranks what rank 0 has given."""


class LocalCommunicator:
    """Ranks of one machine that a parent has spawned: one alone, or one per GPU over NCCL."""

    def __init__(self, rank: int, size: int, parent: Connection) -> None:
        self.rank, self.size, self._parent = rank, size, parent

    def join(self, caffe, solver) -> object:
        """Sum gradients over NCCL. Rank 0 makes the id, as bytes; the parent hands it to the others."""
        if self.size == 1:
            return None
        if self.rank == 0:
            uid = caffe.NCCL.new_uid()
            self._parent.send(("uid", uid))
        else:
            uid = self._parent.recv()
        return join_nccl(caffe, solver, uid)

    def agree(self, stop: bool) -> bool:
        """Return `stop`: the parent has sent all its ranks the same."""
        return stop

    def broadcast(self, what: object) -> object:
        """Return `what`: the parent has sent all its ranks the same."""
        return what


class MPICommunicator:
    """Ranks that mpirun has started, on one machine or several; NCCL on GPUs, else sums over MPI."""

    def __init__(self, gpu: bool) -> None:
        from mpi4py import MPI

        self._mpi, self._comm, self._gpu = MPI, MPI.COMM_WORLD, gpu
        self.rank, self.size = self._comm.rank, self._comm.size
        self._comm.Barrier()  # rank 0 begins once the run's folder is there: so do the others

    def join(self, caffe, solver) -> object:
        """Pass the NCCL id over MPI, or average gradients over MPI itself."""
        if self._gpu:
            uid = caffe.NCCL.new_uid() if self.rank == 0 else None
            return join_nccl(caffe, solver, self._comm.bcast(uid))
        for blobs in solver.net.params.values():
            for blob in blobs:
                self._comm.Bcast(blob.data)
        # A fused layer's blobs part into statistics and what is learnt as the plain layers' do.
        learnt = [blobs for name, blobs in plain_view(solver.net.params).items() if not _is_statistics(name)]

        def average() -> None:
            for blobs in learnt:
                for blob in blobs:
                    self._comm.Allreduce(self._mpi.IN_PLACE, blob.diff)
                    blob.diff[...] /= self.size

        solver.add_callback(lambda: None, average)
        return average

    def agree(self, stop: bool) -> bool:
        """Return True in all ranks if any wants to stop."""
        return self._comm.allreduce(stop, op=self._mpi.LOR)

    def broadcast(self, what: object) -> object:
        """Return in all ranks what rank 0 has given."""
        return self._comm.bcast(what)


def _is_statistics(layer: str) -> bool:
    """Return whether a layer is BatchNorm's: its blobs are not learnt, their gradients never touched."""
    return layer.endswith("/bn")


def join_nccl(caffe, solver, uid: bytes) -> object:
    """Return the NCCL object: Caffe keeps a bare pointer to it, so it must live while the solver steps."""
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    return nccl
