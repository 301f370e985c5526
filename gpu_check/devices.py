"""A device to compute on, and how much of its memory is taken."""

import ctypes
from dataclasses import dataclass
from pathlib import Path

from training.gpus import cudart
from training.pycaffe import compute_on


@dataclass(frozen=True)
class Device:
    """A GPU by number, or the CPU (None)."""

    gpu: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process that computes here: Caffe opens CUDA where it can, also to use the CPU."""
        return {"CUDA_VISIBLE_DEVICES": ""} if self.gpu is None else {}

    def choose(self, caffe) -> None:
        """Make Caffe compute here from now on; before any net is made."""
        compute_on(caffe, self.gpu)

    def synchronize(self) -> None:
        """Wait for all that was started here."""
        if self.gpu is not None:
            cudart().cudaDeviceSynchronize()

    def used_bytes(self) -> int:
        """Return the memory in use: of the whole GPU, or the peak of this process."""
        if self.gpu is None:
            # Not getrusage's, which begins with the peak of the process that this one was started from.
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        cudart().cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value


CPU = Device()
