"""A device to compute on, and how much of its memory is taken."""

import ctypes
import resource
from dataclasses import dataclass

from solvers.gpus import cudart


@dataclass(frozen=True)
class Device:
    """A GPU by number, or the CPU (None)."""

    gpu: int | None = None

    def choose(self, caffe) -> None:
        """Make Caffe compute here from now on; before any net is made."""
        if self.gpu is None:
            caffe.set_mode_cpu()
        else:
            caffe.set_device(self.gpu)
            caffe.set_mode_gpu()

    def used_bytes(self) -> int:
        """Return the memory in use: of the whole GPU, or the peak of this process."""
        if self.gpu is None:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        cudart().cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value
