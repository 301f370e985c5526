"""The manifest beside a database's records: what they were made from, how, and what they hold (JSON)."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from common.errors import DataError
from data_prep.classes import TASKS
from data_prep.decoding import file_checksum
from data_prep.records import Recipe

MANIFEST = "manifest.json"  # inside the database's folder: LMDB looks only for data.mdb and lock.mdb
DATA = "data.mdb"
# Whose versions can change a record's bytes.
LIBRARIES = ("lmdb", "numpy", "opencv-python-headless", "protobuf", "rasterio")


@dataclass(frozen=True)
class Database:
    """What was written: number of records, pixels per class (the last entry: ignored), bytes on disk."""

    records: int
    pixels: dict[str, int]
    size: int

    @property
    def shares(self) -> dict[str, float]:
        """Share of each class, and of `ignored`, in all pixels."""
        return class_shares(self.pixels)

    @property
    def share_line(self) -> str:
        """The shares in a line to read."""
        return ", ".join(f"{name} {100 * share:.3g} %" for name, share in self.shares.items())


def label_names(task: str) -> list[str]:
    """Return the names of a task's classes and, last, `ignored`: the entries of a count of labels."""
    return [*TASKS[task].classes, "ignored"]


def class_shares(pixels: dict[str, int]) -> dict[str, float]:
    """Return each entry's share in the sum of all; zeros where that is zero."""
    total = max(sum(pixels.values()), 1)
    return {name: count / total for name, count in pixels.items()}


def write_manifest(
    folder: Path, recipe: Recipe, database: Database, inputs: list[dict], **notes: object
) -> None:
    """Write the manifest of a database whose records are all on the disk; `notes` are further entries."""
    manifest = {
        "format": 1,
        **asdict(recipe),
        "side": recipe.side,
        "resize": TASKS[recipe.task].resize,
        "classes": TASKS[recipe.task].classes,
        **notes,
        "records": database.records,
        "pixels": database.pixels,
        "shares": database.shares,
        "code_sha256": code_checksum(),
        "versions": {name: version(name) for name in LIBRARIES},
        "data_mdb_sha256": file_checksum(folder / DATA),
        "inputs": inputs,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def read_manifest(database: Path) -> dict:
    """Return the manifest of a database that `write_database` made; DataError if it is missing or broken."""
    path = Path(database) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        missing = {"task", "side", "classes"} - set(manifest)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(path, f"cannot be read ({error})", "build the database again") from error
    if missing:
        raise DataError(path, f"lacks {', '.join(sorted(missing))}", "build the database again")
    return manifest


@cache
def code_checksum() -> str:
    """Return the SHA-256 of this package's sources: the version of the code that makes records."""
    whole = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()
