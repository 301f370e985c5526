"""How a deploy prototxt says, in a comment, what its net is fed with: written and read here alone."""

import re
from collections.abc import Sequence

FED = re.compile(r"^#.*\bInput: \(BGR - \[(?P<mean>[^\]]*)\]\)(?: \* (?P<scale>[-+.0-9e]+))?,", re.MULTILINE)


def input_comment(mean: Sequence[float], scale: float = 1.0) -> str:
    """Return the words for an input of (BGR - mean) * scale, after which the comment may go on."""
    factor = "" if scale == 1 else f" * {scale:g}"
    return f"Input: (BGR - {list(mean)}){factor}, any size 32k+1"


def read_input_comment(text: str) -> tuple[tuple[float, ...], float] | None:
    """Return (mean, scale) as a prototxt's comments give them, None where they do not."""
    found = FED.search(text)
    if found is None:
        return None
    try:
        return tuple(map(float, found["mean"].split(","))), float(found["scale"] or 1)
    except ValueError:  # somebody's own words
        return None
