"""Numbers that make sense: the limits of Caffe's, of options, of JSON; counts in words, cells in columns."""

import math
from collections.abc import Sequence

from common.errors import DataError

INT_MAX = 2**31 - 1  # of Caffe's int32, in which it counts the values of a blob, too
FLOAT_MIN, FLOAT_MAX = 1.18e-38, 3.4e38  # of Caffe's floats: less is 0 to it, more is infinite


def check_number(option: str, value: float, minimum: float, maximum: float = math.inf) -> None:
    """Raise DataError, naming `option`, unless `value` is a finite number from `minimum` to `maximum`."""
    if minimum <= value <= maximum and value not in (math.inf, -math.inf):
        return
    remedy = f"give {minimum:,} or more"
    if not value < minimum:  # too large, infinite, or not a number at all
        remedy = f"give {minimum:,} to {maximum:,}" if math.isfinite(maximum) else "give a finite number"
    raise DataError(option, f"is {value:g}" if isinstance(value, float) else f"is {value}", remedy)


def json_number(value: float) -> float | None:
    """Return what JSON can hold: None for an undefined score."""
    return None if math.isnan(value) else float(value)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, which takes an s in the plural: `1 image`, `2 images`, `1,000 images`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return rows of cells as lines of columns, the first `left` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{'<' if at < left else '>'}{widths[at]}}" for at, cell in enumerate(row)).rstrip()
        for row in rows
    ]
