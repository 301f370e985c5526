"""Files read and checksummed; outputs whole or not at all: written beside their target, renamed."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import DataError, OutputError, reason

SHORT_CHECKSUM = 16  # hexadecimal digits


def refuse_existing(path: Path, overwrite: bool, markers: Sequence[str] = ()) -> None:
    """Raise OutputError if `path` exists and may not be replaced.

    A folder that holds something is replaced only if one of the names `markers` is in it: then it is
    an older output of the same kind, and not somebody's home.
    """
    if path.exists() and not overwrite:
        raise OutputError(path, "exists already", "give --overwrite to replace it, or another name")
    replaceable = not markers or any((path / name).exists() for name in markers)
    if path.is_dir() and not replaceable and any(path.iterdir()):
        fact = f"is a folder of something else (no {' or '.join(markers)} in it)"
        raise OutputError(path, fact, "choose another name, or empty it yourself")


def check_outputs(paths: Iterable[Path | None], overwrite: bool) -> None:
    """Raise OutputError where a file may not be replaced, or two outputs would be one file; None is none."""
    given: set[Path] = set()
    for path in filter(None, paths):
        refuse_existing(path, overwrite)
        if resolved(path) in given:
            raise OutputError(path, "is given for two outputs", "give each a file of its own")
        given.add(resolved(path))


def resolved(path: Path) -> Path:
    """Return where a path leads; of links that go in a circle the path itself, which nothing can open."""
    return Path(os.path.realpath(path))


@contextmanager
def no_empty_folders(path: Path) -> Iterator[None]:
    """Remove at the end `path` and the folders on the way to it that are new then, and empty."""
    path = Path(path).absolute()
    new = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
    try:
        yield
    finally:
        for folder in new:
            with suppress(OSError):  # it holds something, or was not made
                folder.rmdir()


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
def _one_line(path: Path) -> Iterator[None]:
    """Turn a disk that is full, and whatever else the system refuses, into an OutputError of `path`."""
    try:
        yield
    except OSError as error:
        fact = f"cannot be written ({reason(error)})"
        raise OutputError(path, fact, "check the disk's free space and the folder's rights") from error


@contextmanager
def staged_file(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary file beside `path`; rename it to `path` if the block ends without an error.

    Raises OutputError where `path` may not be replaced, has come meanwhile, or cannot be written.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    if path.is_dir():
        raise OutputError(path, "is a folder", "give the name of a file")
    with no_empty_folders(path.parent):
        staged = _make_beside(path, folder=False)
        try:
            with _one_line(path):
                yield staged
                _follow_umask(staged, 0o666)
                refuse_existing(path, overwrite)
                os.replace(staged, path)
        finally:
            staged.unlink(missing_ok=True)


@contextmanager
def staged_folder(path: Path, overwrite: bool = False, markers: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty folder beside `path`; rename it to `path` if the block ends without an error.

    `markers` as in `refuse_existing`. A symbolic link stays one: what it points to is replaced.
    Raises OutputError as `staged_file` does.
    """
    path = resolved(path)
    refuse_existing(path, overwrite, markers)
    with no_empty_folders(path.parent):
        staged = _make_beside(path, folder=True)
        try:
            with _one_line(path):
                yield staged
                _follow_umask(staged, 0o777)
                refuse_existing(path, overwrite, markers)  # another process may have made it meanwhile
                if overwrite and path.exists():
                    _exchange(staged, path)
                else:
                    os.replace(staged, path)  # the system refuses to replace a folder that holds something
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _exchange(staged: Path, path: Path) -> None:
    """Put the folder `staged` in the place of `path`, and remove what was there; an error leaves it there.

    Where that cannot be, since another process has made a folder there meanwhile, it is kept beside it.
    """
    old = _make_beside(path, folder=True)
    try:
        os.replace(path, old)
        os.replace(staged, path)
    except BaseException:
        with suppress(OSError):
            old.rmdir() if path.exists() else os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _follow_umask(path: Path, mode: int) -> None:
    """Give a temporary file or folder the rights that a new one would have."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


@contextmanager
def memory_file(text: str) -> Iterator[str]:
    """Yield a path under which this process can read `text` in the block; it needs no temporary folder."""
    with open(os.memfd_create("dfcnet"), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def write_text(path: Path, text: str, overwrite: bool = True) -> None:
    """Write `text` (UTF-8) to `path` in one step."""
    with staged_file(path, overwrite) as staged:
        staged.write_text(text, encoding="utf-8")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that cannot be read into its DataError; `path` if it names none."""
    try:
        yield
    except OSError as error:
        fact = f"cannot be read ({reason(error)})"
        raise DataError(error.filename or path, fact, "check the path, its rights and its disk") from error


def read_bytes(path: Path) -> bytes:
    """Read a file whole; raise DataError if it cannot be read."""
    with readable(path):
        return path.read_bytes()


def short_checksum(path: Path) -> str:
    """Return the first SHORT_CHECKSUM digits of `file_checksum`, as messages and settings show it."""
    return file_checksum(path)[:SHORT_CHECKSUM]


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; raise DataError if it cannot be read."""
    with readable(path), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
