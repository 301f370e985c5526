"""The GPUs that this machine shows to CUDA, asked of the library that Caffe is linked to."""

import ctypes

from solvers.pycaffe import import_caffe

CUDART = "libcudart.so.13"
SUCCESS = 0
NAME_LENGTH = 256  # of cudaDeviceProp.name, its first field
PROPERTIES_SIZE = 1 << 14  # bytes, more than cudaDeviceProp has


def cudart() -> ctypes.CDLL:
    """Return CUDA's runtime, which a Caffe built for GPUs has loaded."""
    return ctypes.CDLL(CUDART)


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
