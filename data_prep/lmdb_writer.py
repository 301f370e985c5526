"""Writes records as Datums into an LMDB that Caffe's Data layer reads, with a manifest inside its folder."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import lmdb
import numpy as np
from tqdm import tqdm

from data_prep.classes import TASKS
from data_prep.records import Recipe, count_labels, scene_records
from data_prep.scenes import Scene, read_scene
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.errors import DataError, OutputError
from prototxt_gen.files import refuse_existing, staged_folder

MANIFEST = "manifest.json"  # inside the database's folder: LMDB looks only for data.mdb and lock.mdb
COMMIT_BYTES = 256 << 20  # LMDB keeps a transaction's pages in memory


@dataclass(frozen=True)
class Database:
    """What was written: number of records, pixels per class (the last entry: ignored), bytes on disk."""

    records: int
    pixels: dict[str, int]
    size: int

    @property
    def shares(self) -> dict[str, float]:
        """Share of each class, and of `ignored`, in all pixels."""
        total = sum(self.pixels.values())
        return {name: count / total for name, count in self.pixels.items()}


def write_database(
    scenes: list[Scene], recipe: Recipe, out: Path, overwrite: bool = False, split: dict | None = None
) -> Database:
    """Write `recipe.variants` records of each scene to a new LMDB at `out`, whole or not at all.

    Keys are `00000017_<id>_<variant>`: Caffe reads in key order and never shuffles, so the numbers are
    a permutation drawn from the seed. The same scenes and recipe give the same bytes. `split` is noted
    in the manifest. Raises DataError for a bad scene, OutputError for an output that is in the way.
    """
    refuse_existing(out, overwrite, known_by=(MANIFEST,))
    caffe_pb2()  # say now, not after the first scene, that Caffe is missing
    with staged_folder(out, overwrite, known_by=(MANIFEST,)) as staged:
        try:
            inputs, counts = _write_records(scenes, recipe, staged)
            names = [*TASKS[recipe.task].classes, "ignored"]
            pixels = dict(zip(names, map(int, counts), strict=True))
            size = (staged / "data.mdb").stat().st_size
            database = Database(len(scenes) * recipe.variants, pixels, size)
            _write_manifest(staged, recipe, database, inputs, split)
        except (lmdb.Error, OSError) as error:
            raise OutputError(out, f"cannot be written ({error})", "check the disk's free space") from error
    return database


def read_manifest(database: Path) -> dict:
    """Return the manifest of a database that `write_database` made; DataError if it is missing or broken."""
    path = database / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        missing = {"task", "side", "classes"} - set(manifest)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(path, f"cannot be read ({error})", "build the database again") from error
    if missing:
        raise DataError(path, f"lacks {', '.join(sorted(missing))}", "build the database again")
    return manifest


def _write_records(scenes: list[Scene], recipe: Recipe, folder: Path) -> tuple[list[dict], np.ndarray]:
    """Fill the LMDB; return the inputs with their checksums, and pixels per label."""
    task = TASKS[recipe.task]
    records = len(scenes) * recipe.variants
    order = iter(np.random.default_rng(recipe.seed).permutation(records).tolist())
    counts = np.zeros(len(task.classes) + 1, np.int64)
    inputs = []
    with (
        _Writer(folder, records, 4 * recipe.side**2) as writer,
        tqdm(total=records, unit="record", desc=recipe.task, disable=None) as progress,
    ):
        for scene in scenes:
            pixels = read_scene(scene, task)
            inputs.append(_input(scene, pixels.image_sha256, pixels.mask_sha256))
            for variant, record in enumerate(scene_records(pixels, scene.id, recipe)):
                counts += count_labels(record, task, f"{scene.id} variant {variant}")
                writer.put(f"{next(order):08d}_{scene.id}_{variant}", _datum(record))
                progress.update()
    return inputs, counts


def _datum(record: np.ndarray) -> bytes:
    channels, height, width = record.shape
    datum = caffe_pb2().Datum(channels=channels, height=height, width=width, data=record.tobytes())
    return datum.SerializeToString(deterministic=True)


class _Writer:
    """An LMDB being written, with a commit whenever enough has gathered."""

    def __init__(self, folder: Path, records: int, record_bytes: int) -> None:
        # Raw records have a known size: each takes whole pages, and branches take little on top.
        room = records * (record_bytes + (16 << 10)) + (16 << 20)
        # The staged folder has one writer and no reader, so it needs no lock file.
        self.environment = lmdb.open(str(folder), map_size=room, lock=False)
        self.transaction = self.environment.begin(write=True)
        self.waiting = 0

    def put(self, key: str, value: bytes) -> None:
        self.transaction.put(key.encode(), value)
        self.waiting += len(value)
        if self.waiting >= COMMIT_BYTES:
            self.transaction.commit()
            self.transaction = self.environment.begin(write=True)
            self.waiting = 0

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None:
                self.transaction.commit()
            else:
                self.transaction.abort()
        finally:
            self.environment.close()


def _input(scene: Scene, image_sha256: str, mask_sha256: str) -> dict:
    return {
        "id": scene.id,
        "image": str(scene.image),
        "image_sha256": image_sha256,
        "mask": str(scene.mask),
        "mask_sha256": mask_sha256,
    }


def _write_manifest(
    folder: Path, recipe: Recipe, database: Database, inputs: list[dict], split: dict | None
) -> None:
    with (folder / "data.mdb").open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = {
        "format": 1,
        **asdict(recipe),
        "side": recipe.side,
        "resize": TASKS[recipe.task].resize,
        "classes": TASKS[recipe.task].classes,
        "split": split,
        "records": database.records,
        "pixels": database.pixels,
        "shares": database.shares,
        "data_mdb_sha256": checksum,
        "inputs": inputs,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
