"""The rows of the table: printed as they come, and kept as lines of JSON that survive an end at any time."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import OutputError


@dataclass(frozen=True)
class Row:
    """A line of the table; `ok` None: a measurement, or something that was not or cannot be checked here.

    `numbers` are what `words` say, for programs.
    """

    name: str
    ok: bool | None
    words: str
    numbers: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the line."""
        word = {True: "ok", False: "FAILED", None: ""}[self.ok]
        return f"{word:<7}{self.name:<58} {self.words}"


def show(machine: dict, rows: Iterable[Row], file: Path | None = None) -> list[Row]:
    """Print the rows as they come, then how many there were and the failed ones again; return them.

    `file` gets a line of JSON for `machine`, then one for each row, at once. Raises OutputError where that is
    not possible, if it can before the first row is asked for.
    """
    shown = []
    _keep(file, machine, "w")
    for row in rows:
        shown.append(row)
        print(row, flush=True)
        _keep(file, {"name": row.name, "ok": row.ok, "result": row.words, **row.numbers}, "a")
    bad = [row for row in shown if row.ok is False]
    print(f"{len(shown)} rows, {len(bad)} failed" + "".join(f"\n  {row.name}: {row.words}" for row in bad))
    return shown


def _keep(file: Path | None, entry: dict, mode: str) -> None:
    if file is None:
        return
    try:
        with file.open(mode, encoding="utf-8") as lines:
            lines.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise OutputError(file, f"cannot be written ({error.strerror})", "choose another --rows") from error
