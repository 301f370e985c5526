"""Packages that only some uses need: imported when they are needed, with the command that installs them."""

import importlib
from types import ModuleType

from common.errors import DFCNetError


def import_optional(module: str, extra: str) -> ModuleType:
    """Import `module` of the extra `extra` (pyproject.toml); DFCNetError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".", maxsplit=1)[0]:
            raise
        lock = "locked" if extra == "onnx" else extra  # the tests want `onnx`, so the environment has it
        install = f".venv/bin/pip install --require-hashes -r requirements/{lock}.txt"
        raise DFCNetError(module, "is not installed", f"run `{install}`") from error
