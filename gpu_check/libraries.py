"""What is loaded from where, in which version: the first thing to know where nothing works."""

import ctypes
import re
import sys
from collections.abc import Callable
from pathlib import Path

from gpu_check.caffe_tests import test_program
from gpu_check.isolation import run_command
from training.pycaffe import import_caffe

# By the beginning of the file's name: how it gives its version.
PARTS = ("libcaffe", "libcudart", "libcublas", "libcudnn", "libcurand", "libnccl", "libcuda.")
MAPPED = re.compile(r"(/\S*/(\S+\.so\S*))$", re.M)


def loaded() -> dict[str, str]:
    """Import Caffe and return file name -> path of the libraries of CUDA and Caffe that came with it."""
    import_caffe()
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    paths = {name: path for path, name in MAPPED.findall(maps) if name.startswith(PARTS)}
    return dict(sorted(paths.items()))


def versions() -> dict[str, str]:
    """Import Caffe and return the versions of Python, NumPy, and of the driver and libraries of CUDA."""
    caffe = import_caffe()
    import numpy

    texts = {"Python": sys.version.split()[0], "NumPy": numpy.__version__, "Caffe": caffe.__version__}
    paths = loaded()
    for name, title, ask in (
        ("libcudart", "CUDA", _by_reference("cudaRuntimeGetVersion")),
        ("libcudart", "driver's CUDA", _by_reference("cudaDriverGetVersion")),
        ("libcudnn", "cuDNN", lambda library: library.cudnnGetVersion()),
        ("libnccl", "NCCL", _by_reference("ncclGetVersion")),
    ):
        path = next((path for file, path in paths.items() if file.startswith(f"{name}.")), None)
        if path:
            texts[title] = str(ask(ctypes.CDLL(path)))
    return texts


def _by_reference(function: str) -> Callable[[ctypes.CDLL], int]:
    def ask(library: ctypes.CDLL) -> int:
        version = ctypes.c_int()
        getattr(library, function)(ctypes.byref(version))
        return version.value

    return ask


def missing(timeout: float) -> list[str]:
    """Return the libraries that the dynamic linker does not find for Caffe and its test program."""
    program = test_program()
    files = [program, program.parents[1] / "lib" / "libcaffe.so"]
    out, _, _ = run_command(["ldd", *files], timeout)
    return sorted(set(re.findall(r"(\S+) => not found", out)))
