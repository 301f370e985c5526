"""The one place where Caffe's native library is loaded and set up."""

import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TextIO

from common.errors import DFCNetError
from prototxt_gen.caffe_proto import caffe_pb2
from training.communicators import cores_per_rank, threads_wanted

GLOG_LEVEL = "GLOG_minloglevel"
FATAL = re.compile(r"F\d{4,8} ")  # the date, with or without the year
LOG_START = b"== start of a process\n"  # so that an older one's last words are not taken for this one's
ERRORS_ONLY = "2"  # glog's level: Caffe's INFO and WARNING lines stay out of the tools' output
AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def import_caffe(verbose: bool = False) -> ModuleType:
    """Return the module `caffe`; raise DFCNetError where Caffe is not installed.

    `verbose` keeps Caffe's INFO lines on file descriptor 2; the first call of a process decides.
    """
    messages = caffe_pb2()
    if verbose:
        os.environ[GLOG_LEVEL] = "0"  # whatever a parent process has set
    os.environ.setdefault(GLOG_LEVEL, ERRORS_ONLY)
    _widest_blas_kernels()
    _number_of_threads()
    import caffe

    if not hasattr(caffe.Net, "advance_data"):
        raise DFCNetError("caffe", "is an older build than this checkout", "run `make caffe`")
    caffe.proto.caffe_pb2 = messages  # found loaded, Python does not bind it to its package
    return caffe


def compute_on(caffe: ModuleType, gpu: int | None) -> None:
    """Make Caffe compute on a GPU by number, or on the CPU (None), from now on; before any net is made."""
    if gpu is None:
        caffe.set_mode_cpu()
    else:
        caffe.set_device(gpu)
        caffe.set_mode_gpu()


def _widest_blas_kernels() -> None:
    """Let OpenBLAS use AVX-512 on CPUs that are newer than it: unknown ones get its AVX2 kernels.

    Debian 12's OpenBLAS 0.3.21 multiplies half as fast there; it reads the variable when it is loaded.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if "OPENBLAS_CORETYPE" not in os.environ and cpuinfo.exists():
        flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
        if set(flags.split()) >= AVX512:
            os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"


def _number_of_threads() -> None:
    """Set the threads of OpenMP, whose threads all of Caffe shares; it reads the variable when it is loaded.

    OPENBLAS_NUM_THREADS counts where it is set: OpenBLAS as we build with it would not heed it. Where
    the user says nothing, mpirun's processes on one machine share its cores: each does not take all of them.
    """
    threads = threads_wanted() or cores_per_rank()
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def last_words(text: str) -> str:
    """Return glog's last fatal line of what a process has written, else its last line, "" of nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if FATAL.match(line)]  # glog puts a trace behind it
    return (fatal or lines or [""])[-1]


def divert_native_log(path: Path) -> TextIO:
    """Send what C++ writes to stderr to the end of the file `path`; return the former stderr for Python."""
    sys.stderr.flush()
    former = os.fdopen(os.dup(2), "w", buffering=1)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(log, LOG_START)
    os.dup2(log, 2)
    os.close(log)
    return former
