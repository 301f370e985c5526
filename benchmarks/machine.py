"""What results say about the machine: nothing that identifies a single one."""

import os
import platform
from pathlib import Path


def describe_machine() -> dict:
    """Return CPU, cores, memory and distribution, for the results."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), "")
    flags = next((line for line in info if line.startswith("flags")), "")
    wide = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile") if flag in flags]
    return {
        "cpu": f"{cpu or platform.machine()} ({' '.join(wide)})",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
        "system": _distribution(),
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:  # a bare container
        return platform.system()
