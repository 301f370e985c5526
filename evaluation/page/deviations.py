"""The table of deviations from the paper, read from the README: it stands there alone."""

import re
from dataclasses import dataclass
from pathlib import Path

from common.errors import DataError

README = Path(__file__).resolve().parents[2] / "README.md"
HEADING = "## Deviations"
CELL_END = re.compile(r"(?<!\\)\|")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Piece:
    """A piece of a cell's text; `code` stood between backticks."""

    text: str
    code: bool


Cells = list[list[Piece]]


def read_deviations(readme: Path = README) -> tuple[Cells, list[Cells]]:
    """Return the heads of the columns and the rows; DataError where the README has no such table."""
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            readme, f"cannot be read ({error.strerror})", "run the tool from its checkout"
        ) from error
    _, found, section = text.partition(f"\n{HEADING}\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    if not found or len(lines) < 3:
        raise DataError(readme, f"has no table under {HEADING!r}", "take the README of the checkout")
    head, _, *rows = ([_pieces(cell) for cell in _cells(line)] for line in lines)
    return head, rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in CELL_END.split(line.strip())[1:-1]]


def _pieces(cell: str) -> list[Piece]:
    """Part a cell at its backticks; links keep their words, backslashes before marks go."""
    pieces = []
    for number, text in enumerate(cell.split("`")):
        code = number % 2 == 1
        plain = text if code else re.sub(r"\\([*|_`])", r"\1", LINK.sub(r"\1", text))
        if plain:
            pieces.append(Piece(plain, code))
    return pieces
