"""Caffe's protobuf messages without Caffe: the generated module alone, no native library loaded."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from common.errors import DFCNetError

MODULE = "caffe.proto.caffe_pb2"


@cache
def find_caffe_pb2() -> ModuleType | None:
    """Return the module `caffe_pb2` of the installed Caffe, or None where there is none.

    Importing `caffe.proto.caffe_pb2` the usual way would load libcaffe. The module is registered
    under its usual name, so that a later `import caffe` shares its message classes.
    """
    if MODULE in sys.modules:
        return sys.modules[MODULE]
    package = importlib.util.find_spec("caffe")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0], "proto", "caffe_pb2.py")
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(MODULE, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    return module


def caffe_pb2() -> ModuleType:
    """Return the module `caffe_pb2`; raise DFCNetError where Caffe is not installed."""
    module = find_caffe_pb2()
    if module is None:
        raise DFCNetError(
            "caffe", "is not installed in this Python", "run `make caffe`, then use .venv/bin/python"
        )
    return module
