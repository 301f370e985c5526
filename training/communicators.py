"""How ranks work together: alone, over NCCL on one machine's GPUs, or over MPI.

A communicator gives a rank its number, makes all ranks begin with rank 0's weights, averages the gradients of
each update, and lets the ranks agree to stop at the same iteration.
"""

import os
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd
from operator import methodcaller
from types import ModuleType
from typing import Protocol

from common.errors import DFCNetError, RunError
from prototxt_gen.fused_weights import is_statistics, plain_view

MAX_THREADS = 1024
PMI_SOCKET = "PMI_FD"
PMIX_ALONE = 5  # Open MPI's first version that knows no PMI but PMIx
PATIENCE = 2  # seconds for the first process to say what is wrong
# Variables that launchers set in their processes: Open MPI, MPICH and its kin, MVAPICH2, Slurm's srun.
# A batch script of Slurm has SLURM_PROCID as well, but only what srun starts has SLURM_STEP_NUM_TASKS.
SLURM_SIZE = "SLURM_STEP_NUM_TASKS"
RANK = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
SIZE = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", SLURM_SIZE)
LOCAL_SIZE = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_LOCAL_SIZE")
LOCAL_RANK = (
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "SLURM_LOCALID",
)


def mpi_rank_and_size() -> tuple[int, int] | None:
    """Return (rank, size) of a process that mpirun or srun has started, else None; MPI is not begun."""
    names = _launcher()
    return names and (_number(names[0]), _number(names[1]))


def mpi_world() -> ModuleType:
    """Begin MPI and return mpi4py's module; RunError where it does not see the processes of the launcher.

    Then the launcher is that of another MPI, and each process would take itself for the only one. Those after
    the launcher's first end without a word.
    """
    remedy = "start with the mpirun beside this Python, or install mpi4py with the launcher's MPI"
    try:
        import mpi4py

        mpi4py.rc(initialize=False, finalize=True)
        from mpi4py import MPI

        names, seen = _launcher(), _begin(MPI)
    except (ImportError, RuntimeError) as error:
        raise RunError("mpi4py", f"cannot load MPI ({' '.join(str(error).split())})", remedy) from error
    if names and mpi_rank_and_size() != seen:
        number, count = mpi_rank_and_size()
        if number:  # the first says it; a launcher ends all with the first that fails
            time.sleep(PATIENCE)
            sys.exit(2)
        library = MPI.Get_library_version().split(",")[0].strip()
        fact = (
            f"say process {number} of {count}, mpi4py's MPI ({library}) says process {seen[0]} of {seen[1]}"
        )
        remedy += f"; where there is no launcher, unset {names[1]}"
        raise RunError(f"{names[0]} and {names[1]}", fact, remedy)
    return MPI


def _begin(mpi: ModuleType) -> tuple[int, int]:
    """Begin MPI and return this process's rank and the size of its world.

    From version 5 on, Open MPI knows the launchers that speak PMIx and no other. Of one that sets PMI's
    variables alone, as MPICH's, it says on stderr that it does not know it, and takes the process for the
    only one: where that is wrong, it is not begun.
    """
    (name, version), alone = mpi.get_vendor(), (0, 1)
    unknown = name == "Open MPI" and version[0] >= PMIX_ALONE and "PMIX_NAMESPACE" not in os.environ
    if unknown and mpi_rank_and_size() not in (None, alone):
        return alone
    if not mpi.Is_initialized():
        mpi.Init_thread()
    return mpi.COMM_WORLD.rank, mpi.COMM_WORLD.size


class LauncherSocket:
    """The file descriptor through which MPICH's launcher and its kin speak, whose number is in a variable.

    Given to a spawned process, which begins MPI, it is open there; what arrives is its number.
    """

    @classmethod
    def inherited(cls) -> "LauncherSocket | None":
        """Return that of this process; None where the launcher has given none."""
        try:
            os.fstat(_number(PMI_SOCKET))
        except (KeyError, OSError):
            return None
        return cls()

    def __reduce__(self) -> tuple:
        """Let the process that is being spawned inherit it."""
        return methodcaller("detach"), (DupFd(_number(PMI_SOCKET)),)


def _launcher() -> tuple[str, str] | None:
    """Return the variables that hold rank and size; a step of one task is also an interactive shell."""
    for rank, size in zip(RANK, SIZE, strict=True):
        if rank in os.environ and size in os.environ and (size, os.environ[size]) != (SLURM_SIZE, "1"):
            return rank, size
    return None


def local_rank() -> int:
    """Return which of mpirun's processes on this machine this one is."""
    return _variable(LOCAL_RANK) or 0


def cores_per_rank() -> int | None:
    """Return how many cores this process may use if mpirun's on this machine get equal shares, else None."""
    local = _variable(LOCAL_SIZE) or 1
    return max(1, len(os.sched_getaffinity(0)) // local) if local > 1 else None


def threads_wanted() -> int | None:
    """Return the threads that the user's variables ask for, OPENBLAS_NUM_THREADS before OMP_NUM_THREADS.

    DFCNetError for what is not a number of threads; of OpenMP's list by level, the first counts.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if words := os.environ.get(name, "").strip():
            count = words.split(",")[0]
            if not count.isdecimal() or not 0 < int(count) <= MAX_THREADS:
                raise DFCNetError(name, f"is {words!r}", f"set it to 1 to {MAX_THREADS}, or unset it")
            return int(count)
    return None


def busy_hint() -> str | None:
    """Return a line where twice as much wants to run as there are cores, and several threads share them.

    At each barrier OpenMP's threads wait for the slowest: beside other work one thread may be quicker.
    """
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= 2 * cores or (threads_wanted() or cores_per_rank() or cores) == 1:
        return None
    return f"load {load:.1f} on {cores} cores: OMP_NUM_THREADS=1 may be several times quicker here"


def _variable(names: tuple[str, ...]) -> int | None:
    return next((_number(name) for name in names if name in os.environ), None)


def _number(name: str) -> int:
    if not os.environ[name].isdecimal():
        raise DFCNetError(name, f"is {os.environ[name]!r}", "a launcher sets it to a number; unset it")
    return int(os.environ[name])


class Communicator(Protocol):
    """What the training loop needs of its ranks."""

    rank: int
    size: int

    def begin(self) -> None:
        """Wait until the run's folder is there."""

    def join(self, caffe, solver) -> object:
        """Begin with rank 0's weights, average gradients from now on; keep the result while stepping."""

    def agree(self, stop: bool) -> bool:
        """Return True in all ranks if `stop` is True in any; each waits for the others."""

    def broadcast(self, value: object) -> object:
        """Return in all ranks what rank 0 has given."""


class LocalCommunicator:
    """Ranks of one machine that a parent has spawned: one alone, or one per GPU over NCCL."""

    def __init__(self, rank: int, size: int, parent: Connection) -> None:
        self.rank, self.size, self._parent = rank, size, parent

    def begin(self) -> None:
        """Begin: the parent has made the run's folder."""

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

    def broadcast(self, value: object) -> object:
        """Return `value`: the parent has sent all its ranks the same."""
        return value


class MPICommunicator:
    """Ranks that mpirun has started, on one machine or several; NCCL on GPUs, else sums over MPI."""

    def __init__(self, gpu: bool) -> None:
        self._mpi, self._gpu = mpi_world(), gpu
        self._comm = self._mpi.COMM_WORLD
        self.rank, self.size = self._comm.rank, self._comm.size

    def begin(self) -> None:
        """Wait for rank 0, which begins once the run's folder is there."""
        self._comm.Barrier()

    def join(self, caffe, solver) -> object:
        """Pass the NCCL id over MPI, or average gradients over MPI itself."""
        if self._gpu:
            uid = caffe.NCCL.new_uid() if self.rank == 0 else None
            return join_nccl(caffe, solver, self._comm.bcast(uid))
        for blobs in solver.net.params.values():
            for blob in blobs:
                self._comm.Bcast(blob.data)
        # A fused layer's blobs part into statistics and what is learnt as the plain layers' do.
        learnt = [blobs for name, blobs in plain_view(solver.net.params).items() if not is_statistics(name)]

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

    def broadcast(self, value: object) -> object:
        """Return in all ranks what rank 0 has given."""
        return self._comm.bcast(value)


def join_nccl(caffe, solver, uid: bytes) -> object:
    """Return the NCCL object: Caffe keeps a bare pointer to it, so it must live while the solver steps."""
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    return nccl
