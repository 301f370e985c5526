"""Deviations from the paper: one table, deviations.toml, which the report and docs/deviations.md show.

python -m evaluation.page.deviations >docs/deviations.md
"""

import re
import tomllib
from pathlib import Path

TABLE = Path(__file__).with_suffix(".toml")
COLUMNS = ("the paper says", "we do", "why")
PAGE = """\
# Deviations from the paper

What the paper leaves open, and what we do differently. `make docs/deviations.md` writes this page from
`evaluation/page/deviations.toml`, which the report shows as well.
"""


def read_deviations() -> list[tuple[str, str, str]]:
    """Return the rows: what the paper says, what we do, and why; code stands between backticks."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return [(row["paper"], row["ours"], row.get("why", "")) for row in table["deviation"]]


def pieces(cell: str) -> list[tuple[str, bool]]:
    """Return the pieces of a cell's text, and whether each is code."""
    return [(text, at % 2 == 1) for at, text in enumerate(cell.split("`")) if text]


def page() -> str:
    """Return the page of the documentation, in Markdown."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *(map(_markdown, row) for row in read_deviations())]
    return PAGE + "".join(f"\n| {' | '.join(row)} |" for row in rows) + "\n"


def _markdown(cell: str) -> str:
    """Return a cell with Markdown's marks escaped, but in code."""
    return "".join(f"`{text}`" if code else re.sub(r"([*|_])", r"\\\1", text) for text, code in pieces(cell))


if __name__ == "__main__":
    print(page(), end="")
