"""How a deploy prototxt says, in a comment, what its net is fed with: written and read here alone."""

import re
from collections.abc import Sequence

BGR = ("blue", "green", "red")
INPUT_COMMENT = re.compile(
    r"^#.*\bInput: \((?P<bands>BGR|\w+(?:, \w+)*) - \[(?P<mean>[^\]]*)\]\)(?: \* (?P<scale>[-+.0-9e]+))?,",
    re.MULTILINE,
)


def input_comment(bands: Sequence[str], mean: Sequence[float], scale: float = 1.0) -> str:
    """Return the words for an input of (bands - mean) * scale, after which the comment may go on."""
    factor = "" if scale == 1 else f" * {scale:g}"
    return f"Input: ({bands_text(bands)} - {list(mean)}){factor}, any size 32k+1"


def bands_text(bands: Sequence[str]) -> str:
    """Return the names of bands in their order, "BGR" for those of Caffe's models."""
    return "BGR" if tuple(bands) == BGR else ", ".join(bands)


def read_input_comment(text: str) -> tuple[tuple[str, ...], tuple[float, ...], float] | None:
    """Return (bands, mean, scale) as a prototxt's comments give them, None where they do not."""
    match = INPUT_COMMENT.search(text)
    if match is None:
        return None
    bands = BGR if match["bands"] == "BGR" else tuple(match["bands"].split(", "))
    try:
        return bands, tuple(map(float, match["mean"].split(","))), float(match["scale"] or 1)
    except ValueError:  # somebody's own words
        return None
