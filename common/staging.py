"""Unfinished files stand apart, in a folder that goes when the work ends or its owner is dead."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import OutputError
from common.files import no_empty_folders
from common.locks import lock

PREFIX = ".unfinished."
ATTEMPTS = 100  # to make a folder before another process removes it
LOCK = "lock"  # held by the owner; the system frees it when the owner ends, however it ends


@contextmanager
def staging_directory(out: Path) -> Iterator[Path]:
    """Yield an empty folder in `out` for unfinished files; it is removed at the end.

    So are `out` and the folders above it that were made here and hold nothing then. Those that killed
    processes have left in `out` are removed at the beginning. Raises OutputError where `out` cannot be
    written.
    """
    with no_empty_folders(out):
        try:
            sweep(out)
            folder, handle = _make(out)
        except OSError as error:
            raise OutputError(out, f"cannot be written ({error.strerror})", "choose another --out") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def _make(out: Path) -> tuple[Path, int]:
    for _ in range(ATTEMPTS):  # another process may remove what is new and not locked yet
        folder = None
        try:
            out.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=out, prefix=PREFIX))
            handle, _ = _lock(folder, os.O_CREAT)
        except FileNotFoundError:
            continue
        except OSError:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if (folder / LOCK).exists():
            return folder, handle
        os.close(handle)
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _lock(folder: Path, flags: int) -> tuple[int, bool]:
    """Return the open file of a lock, and whether it is locked: the file system may have no locks."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | flags, 0o644)
    try:
        return handle, lock(handle, folder.parent)
    except BaseException:
        os.close(handle)
        raise


def sweep(out: Path) -> None:
    """Remove the staging directories in `out` whose owner has ended."""
    for folder in out.glob(f"{PREFIX}*"):
        try:
            handle, locked = _lock(folder, 0)
        except OSError:  # at work, or about to be
            continue
        if locked:  # else its owner may be at work
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
