"""Lists of scene ids to leave out: one id a line, # begins a comment line."""

from collections.abc import Iterable
from pathlib import Path

from common.errors import DataError
from common.files import write_text
from data_prep.decoding import read_bytes
from data_prep.scenes import is_id, printable


def read_leave_out(path: Path | None) -> frozenset[str]:
    """Return the ids of a list; none for None. Raises DataError if it cannot be read as UTF-8 text."""
    if path is None:
        return frozenset()
    try:
        lines = read_bytes(Path(path)).decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 text ({error})", "write one scene id a line") from error
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def write_leave_out(path: Path, reasons: Iterable[tuple[str, str]], overwrite: bool = False) -> None:
    """Write a list of (id, reason); the reason stands above its id as a comment.

    What cannot be an id (see scenes.py) is left as a comment: such a file must be renamed.
    """
    lines = [
        f"# {printable(reason)}\n{id if is_id(id) else '# ' + printable(id)}\n" for id, reason in reasons
    ]
    write_text(
        path,
        "# Scenes to leave out: the commands take this list by --leave-out.\n" + "".join(lines),
        overwrite,
    )
