"""The Caffe that this Python imports: where it is, and what it was built with."""

import importlib.util
from pathlib import Path


def caffe_prefix() -> Path:
    """Return the folder that native/build.sh installed it into; FileNotFoundError where there is none."""
    spec = importlib.util.find_spec("caffe")
    if spec is None:
        raise FileNotFoundError("no Caffe here; run `make caffe`")
    return Path(spec.origin).parents[2]


def has_onednn() -> bool:
    """Return whether a Caffe with oneDNN is there."""
    try:
        return (caffe_prefix() / "lib" / "libdnnl.so.3").exists()
    except FileNotFoundError:
        return False
