"""The manifest beside a database's records: what they were made from, how, and what they hold (JSON)."""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from common.datasets import Dataset, legacy_dataset
from common.errors import DataError, reason
from common.files import file_checksum
from common.settings import explain_error
from data_prep.records import RecordConfig
from prototxt_gen.input_comment import BGR

MANIFEST = "manifest.json"  # inside the database's folder: LMDB looks only for data.mdb and lock.mdb
DATA = "data.mdb"
FORMAT = 2  # of manifests; 1 had a list of classes in place of the data set
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


class _Input(BaseModel):
    """A scene that a database was made from, as far as others ask for it."""

    id: str
    image_sha256: str


class _Noted(BaseModel):
    """The types of what a manifest holds and others take from it; None or nothing where it may be missing."""

    model_config = ConfigDict(strict=True)

    side: int
    bands: list[str] = []
    mean: list[float] = []
    stretch: list[float] | None = None
    records: int = 0
    pixels: dict[str, int] = {}
    inputs: list[_Input] = []
    data_mdb_sha256: str | None = None


def class_shares(pixels: dict[str, int]) -> dict[str, float]:
    """Return each entry's share in the sum of all; zeros where that is zero."""
    total = max(sum(pixels.values()), 1)
    return {name: count / total for name, count in pixels.items()}


def write_manifest(
    folder: Path, config: RecordConfig, database: Database, inputs: list[dict], **notes: object
) -> None:
    """Write the manifest of a database whose records are all on the disk; `notes` are further entries."""
    made = {field.name: getattr(config, field.name) for field in fields(config) if field.name != "dataset"}
    manifest = {
        "format": FORMAT,
        "dataset": config.dataset.model_dump(mode="json"),
        **made,
        "side": config.side,
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
    """Return the manifest of a database; DataError if it is missing or broken, else as `legacy_dataset`.

    Its "dataset" is a Dataset, its "bands" are the names of the records' channels. What version 1.0 wrote has
    the data set of datasets/ with the same classes, and a stretch beside the data set is put into it.
    """
    path, remedy = Path(database) / MANIFEST, "build the database again"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8-sig"))
        written = manifest.get("format", 1)
        key = "dataset" if written != 1 else "classes"
        missing = {"side", key} - set(manifest)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(path, f"cannot be read ({reason(error)})", remedy) from error
    if written not in (1, FORMAT):
        raise DataError(path, f"is a manifest of format {written!r}, not {FORMAT}", remedy)
    if missing:
        raise DataError(path, f"lacks {', '.join(sorted(missing))}", remedy)
    try:
        _Noted.model_validate(manifest)
    except ValidationError as error:
        raise DataError(path, f"has {explain_error(error)[0]}", remedy) from error
    try:
        dataset = Dataset.model_validate(legacy_dataset(manifest[key], path, key))
        if manifest.get("stretch"):
            dataset = dataset.model_copy(update={"stretch": tuple(manifest["stretch"])})
        return {"bands": BGR} | manifest | {"dataset": dataset}
    except ValidationError as error:
        raise DataError(path, f"has no data set ({explain_error(error)[0]})", remedy) from error


@cache
def code_checksum() -> str:
    """Return the SHA-256 of this package's sources: the version of the code that makes records."""
    whole = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()
