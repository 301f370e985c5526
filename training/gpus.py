"""The GPUs that this machine shows to CUDA, asked of the library that Caffe is linked to."""

import ctypes
import re
from collections.abc import Sequence

from common.errors import ExperimentError
from training.pycaffe import import_caffe

CUDART = "libcudart.so.13"
SUCCESS = 0
NAME_LENGTH = 256  # of cudaDeviceProp.name, its first field
PROPERTIES_SIZE = 1 << 14  # bytes, more than cudaDeviceProp has
MEMORY_FULL = re.compile("out of memory|alloc(ation)?_failed", re.IGNORECASE)  # CUDA; cuBLAS and cuDNN


def cudart() -> ctypes.CDLL:
    """Return CUDA's runtime, which a Caffe built for GPUs has loaded."""
    return ctypes.CDLL(CUDART)


def out_of_memory(words: str) -> bool:
    """Return whether Caffe's last words are of a GPU whose memory is full."""
    return bool(MEMORY_FULL.search(words))


def check_gpus(option: str, gpus: Sequence[int], otherwise: str) -> None:
    """Raise ExperimentError if `option` asks for GPUs that this Caffe, or this machine, does not have.

    `otherwise` is the remedy without GPUs.
    """
    if gpus and not import_caffe().has_nccl():
        fact = "this Caffe was built for the CPU alone"
        raise ExperimentError(option, fact, f"{otherwise}, or `make caffe-cuda`")
    available = len(gpu_names()) if gpus else 0
    if gpus and max(gpus) >= available:
        fact = f"asks for GPU {max(gpus)}, this machine shows {available or 'none'}"
        remedy = f"choose from those that nvidia-smi lists, from 0, or {otherwise}"
        raise ExperimentError(option, fact, remedy)


def gpu_names() -> list[str]:
    """Return the names of the visible GPUs: none too where Caffe was built for the CPU alone."""
    if not import_caffe().has_nccl():
        return []
    runtime, count = cudart(), ctypes.c_int()
    if runtime.cudaGetDeviceCount(ctypes.byref(count)) != SUCCESS:
        return []
    names = []
    for number in range(count.value):
        properties = ctypes.create_string_buffer(PROPERTIES_SIZE)
        runtime.cudaGetDeviceProperties(properties, number)
        names.append(properties.raw[:NAME_LENGTH].split(b"\0")[0].decode(errors="replace"))
    return names
