"""One builder per output at a time; what builders that were killed left beside it is removed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import OutputError
from common.files import no_empty_folders, resolved
from common.locks import lock as lock_file
from data_prep.manifest import DATA, MANIFEST

FILES = {DATA, "lock.mdb", MANIFEST}  # what an unfinished or replaced database may hold


@contextmanager
def build_lock(out: Path) -> Iterator[None]:
    """Keep other builders of `out` away during the block; clean up after those that were killed.

    Half-written databases (`.<name>.xxxxxxxx` beside `out`) go at once; whole ones, left by a kill in
    the middle of a replacement, go only when the block has ended without an error. Raises OutputError
    where another process is building `out`.
    """
    out = resolved(out)
    lock = out.parent / f".{out.name}.lock"
    with no_empty_folders(out.parent):
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            handle, locked = _acquire(lock)
        except BlockingIOError:
            raise OutputError(out, "is being built by another process", "wait for it, or stop it") from None
        except OSError as error:
            fact = f"cannot be written ({error.strerror})"
            raise OutputError(out.parent, fact, "choose another place") from error
        try:
            if locked:  # else what lies there may be another builder's work
                _sweep(out, whole=False)
            yield
            if locked:
                _sweep(out, whole=True)
        finally:
            lock.unlink(missing_ok=True)
            os.close(handle)


def _acquire(lock: Path) -> tuple[int, bool]:
    """Open and lock the file `lock`; the second is False where the file system has no locks."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            locked = lock_file(handle, lock.parent)
            if _same(handle, lock):
                return handle, locked
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # another builder has just ended and removed the file


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _sweep(out: Path, whole: bool) -> None:
    """Remove the leftovers of dead builders of `out`; finished databases only if `whole`.

    A manifest is written last, so a folder with one is whole.
    """
    for path in out.parent.iterdir():
        if not re.fullmatch(rf"\.{re.escape(out.name)}\.[a-z0-9_]{{8}}", path.name):
            continue
        if path.is_symlink() or not path.is_dir():
            continue
        names = {entry.name for entry in path.iterdir()}
        if names <= FILES and (whole or MANIFEST not in names):
            shutil.rmtree(path, ignore_errors=True)
