"""Pictures by matplotlib: their formats, and a style that no matplotlibrc and no name's `$` changes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib

from common.errors import OutputError
from common.files import refuse_existing

FORMATS = (".svg", ".png", ".pdf")


def check_picture(path: Path, overwrite: bool) -> None:
    """Raise OutputError if `path` is not of FORMATS by its extension, or exists and may not be replaced."""
    if path.suffix.lower() not in FORMATS:
        raise OutputError(path, f"has the extension {path.suffix!r}", f"use one of {', '.join(FORMATS)}")
    refuse_existing(path, overwrite)


@contextmanager
def drawn_with(style: Mapping[str, object]) -> Iterator[None]:
    """Draw with matplotlib's own defaults and `style`; afterwards its settings are what they were.

    Texts stand as they are written: a `$` in the name of a class or a folder does not begin a formula.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"text.parse_math": False, **style})
        yield
