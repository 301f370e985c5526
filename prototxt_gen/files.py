"""Outputs appear whole or not at all: written beside their target, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prototxt_gen.errors import OutputError


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise OutputError if `path` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise OutputError(path, "exists already", "give --overwrite to replace it, or another name")


def _make_beside(path: Path, folder: bool) -> Path:
    """Create the parent folder of `path`, and in it an empty file or folder of a temporary name; return that.

    A file's name ends like the target, so that writers which go by the extension work.
    """
    prefix = f".{path.name}."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            return Path(tempfile.mkdtemp(dir=path.parent, prefix=prefix))
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    except OSError as error:
        raise OutputError(
            path.parent, f"cannot be written ({error.strerror})", "choose another place"
        ) from error
    os.close(handle)
    return Path(name)


@contextmanager
def staged_file(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary file beside `path`; rename it to `path` if the block ends without an error."""
    path = Path(path)
    refuse_existing(path, overwrite)
    staged = _make_beside(path, folder=False)
    try:
        yield staged
        umask = os.umask(0)
        os.umask(umask)
        staged.chmod(0o666 & ~umask)
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def staged_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `path`; rename it to `path` if the block ends without an error."""
    path = Path(path)
    refuse_existing(path, overwrite)
    staged = _make_beside(path, folder=True)
    try:
        yield staged
        umask = os.umask(0)
        os.umask(umask)
        staged.chmod(0o777 & ~umask)
        if path.exists():
            old = _make_beside(path, folder=True)
            os.replace(path, old / path.name)
            os.replace(staged, path)
            shutil.rmtree(old)
        else:
            os.replace(staged, path)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_text(path: Path, text: str, overwrite: bool = True) -> None:
    """Write `text` (UTF-8) to `path` in one step."""
    with staged_file(path, overwrite) as staged:
        staged.write_text(text, encoding="utf-8")
