"""Locks on files, which the system frees when their owner ends, however it ends."""

import errno
import fcntl
import sys
from functools import cache
from pathlib import Path

# What file systems without locks answer, as Lustre mounted without `flock`; NFS says EBADF of a folder.
WITHOUT = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF}


def lock(handle: int, path: Path) -> bool:
    """Lock an open file; BlockingIOError where another process holds it.

    Where the file system of `path` has no locks, says so in a line on stderr and returns False.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in WITHOUT:
            raise
        _warn(path)
        return False
    return True


@cache
def _warn(path: Path) -> None:
    remedy = "start no second process that writes there"
    print(f"warning: {path}: its file system has no locks; {remedy}", file=sys.stderr)
