"""matplotlib as it comes, plus a style: no matplotlibrc of the user's and no name's `$` changes a picture."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import matplotlib


@contextmanager
def drawn_with(style: Mapping[str, object]) -> Iterator[None]:
    """Draw with matplotlib's own defaults and `style`; afterwards its settings are what they were.

    Texts stand as they are written: a `$` in the name of a class or a folder does not begin a formula.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"text.parse_math": False, **style})
        yield
