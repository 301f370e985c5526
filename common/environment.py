"""What the surroundings of a command may change, and what they may not: docs/environment.md, in code.

Libraries read variables, files and inherited descriptors that were meant for other programs. Every command
calls `pin` before anything else is imported; processes that it starts inherit the variables.
"""

import io
import os
import sys

# Beginnings of variables that change what native libraries read, write or compute.
GDAL = (
    "GDAL_",
    "CPL_",
    "OGR_",
    "OSR_",
    "VSI_",
    "PROJ_",
    "GTIFF_",
    "TIFF_",
    "GEOTIFF_",
    "JPEG_",
    "PNG_",
    "COG_",
)
UNSET = (*GDAL, "OPENCV_", "MPLBACKEND", "MATPLOTLIBRC", "ONEDNN_", "DNNL_", "NVIDIA_TF32_OVERRIDE")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNSET_ENDING = "_OVERVIEW"  # GDAL's options of overviews, as COMPRESS_OVERVIEW
SET = {
    "GDAL_CONFIG_FILE": os.devnull,  # else ~/.gdal/gdalrc and /etc/gdal/gdalrc are read
    "GDAL_DRIVER_PATH": "disable",  # no plugins of another GDAL
    "PROJ_SKIP_READ_USER_WRITABLE_DIRECTORY": "YES",  # else a proj.db in ~/.local/share/proj is preferred
}


def pin() -> None:
    """Give native libraries, imports and standard streams what this project was built and tested with."""
    for name in list(os.environ):
        if name.startswith(UNSET) or name.endswith(UNSET_ENDING):
            del os.environ[name]
    os.environ.update(SET)
    _search_others_packages_last()
    _open_standard_streams()


def _search_others_packages_last() -> None:
    """Move the folders of PYTHONPATH to the end: another caffe or numpy in them does not hide ours."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    user_folders = {os.path.abspath(folder) for folder in path if folder} - {ROOT}
    sys.path.sort(key=lambda folder: os.path.abspath(folder) in user_folders)  # stable


def _open_standard_streams() -> None:
    """Open what was closed on the null device, and let any text be printed in any encoding.

    A file that is opened while descriptor 2 is free gets that number: what native code says would land in it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", closefd=False))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
