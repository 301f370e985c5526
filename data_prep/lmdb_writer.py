"""Scenes -> records -> an LMDB for Caffe's Data layer: whole or not at all, by any number of workers."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import lmdb
import numpy as np
from tqdm import tqdm

from common.errors import OutputError
from common.files import refuse_existing, staged_folder
from data_prep.build_lock import sole_builder
from data_prep.datums import OVERHEAD, largest_datum, to_datum
from data_prep.growing_lmdb import GrowingLMDB, file_size
from data_prep.manifest import DATA, MANIFEST, Database, read_manifest, write_manifest
from data_prep.masks import check_labels
from data_prep.reading import Reading
from data_prep.records import Recipe, make_record
from data_prep.scene_pixels import open_scene, refuse_one_class
from data_prep.scenes import Scene
from data_prep.workers import check_workers, ordered
from prototxt_gen.caffe_proto import caffe_pb2

__all__ = ["Database", "read_manifest", "write_database"]

JOB_RECORDS = 16  # variants made from one decoding: a worker's memory holds a job's records
SLOT_BYTES = 96 << 20  # of results a worker may hold
SAMPLES = 5  # records encoded to estimate the size
SPARE = 1.05  # free disk space asked for, as a multiple of the estimate


@dataclass(frozen=True)
class _Made:
    """What goes with a record's bytes: its key's end, pixels per label, and once per scene the inputs."""

    key: str
    counts: np.ndarray
    inputs: dict | None


def write_database(
    scenes: Sequence[Scene],
    recipe: Recipe,
    out: Path,
    overwrite: bool = False,
    split: dict | None = None,
    *,
    workers: int = 1,
    numbers: tuple[int, ...] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Database:
    """Write `recipe.variants` records of each scene to a new LMDB at `out`, whole or not at all.

    Keys are `00000017_<id>_<variant>`: Caffe reads in key order and never shuffles, so the numbers are
    a permutation drawn from the seed. The same scenes and recipe give the same bytes, with any number
    of `workers`. `split` is noted in the manifest, `numbers` are those of the bands (see `Reading`), `tell`
    gets the estimated size. Raises DataError for a bad scene, OutputError for an output that is in the way or
    a disk that is too full.
    """
    check_workers(workers)
    refuse_existing(out, overwrite, known_by=(MANIFEST,))
    refuse_one_class(scenes, recipe.dataset)
    reading = Reading.of(recipe.dataset, recipe.bands, numbers, recipe.mean)
    caffe_pb2()  # say now, not after the first scene, that Caffe is missing
    make = partial(_scene_records, recipe=recipe, reading=reading)
    with sole_builder(out):
        tell(_check_disk(scenes, recipe, make, out))
        with staged_folder(out, overwrite, known_by=(MANIFEST,)) as staged:
            try:
                inputs, counts = _write_records(make, scenes, recipe, staged, workers)
                pixels = dict(zip(recipe.dataset.label_names, map(int, counts), strict=True))
                database = Database(len(scenes) * recipe.variants, pixels, (staged / DATA).stat().st_size)
                write_manifest(staged, recipe, database, inputs, split=split, band_numbers=numbers)
            except (lmdb.Error, OSError) as error:
                raise OutputError(
                    out, f"cannot be written ({error})", "check the disk's free space"
                ) from error
    return database


def _scene_records(
    job: tuple[Scene, range], recipe: Recipe, reading: Reading
) -> Iterator[tuple[_Made, bytes]]:
    """Make some variants of one scene, which is decoded once; yield each with its serialised Datum."""
    scene, variants = job
    with open_scene(scene, recipe.dataset, reading) as pixels:
        for variant in variants:
            record = make_record(pixels, scene.id, variant, recipe)
            counts = check_labels(record[-1], recipe.dataset, f"{scene.id} variant {variant}")
            inputs = _inputs(scene, pixels) if variant == 0 else None
            yield _Made(f"{scene.id}_{variant}", counts, inputs), to_datum(record, recipe.encode)


def _inputs(scene: Scene, pixels) -> dict:
    return {
        "id": scene.id,
        "image": str(scene.image),
        "image_sha256": pixels.image_sha256,
        "mask": str(scene.mask),
        "mask_sha256": pixels.mask_sha256,
        **pixels.read_as,
    }


def _write_records(
    make: Callable, scenes: Sequence[Scene], recipe: Recipe, folder: Path, workers: int
) -> tuple[list[dict], np.ndarray]:
    """Fill the LMDB, scene by scene; return the inputs with their checksums, and pixels per label."""
    records = len(scenes) * recipe.variants
    numbers = iter(np.random.default_rng(recipe.seed).permutation(records).tolist())
    counts = np.zeros(len(recipe.dataset.label_names), np.int64)
    inputs = []
    slot_bytes = largest_datum(recipe.channels, recipe.side)
    slots = max(2, SLOT_BYTES // slot_bytes)
    per_job = min(JOB_RECORDS, slots)
    jobs = [
        (scene, range(first, min(first + per_job, recipe.variants)))
        for scene in scenes
        for first in range(0, recipe.variants, per_job)
    ]
    with (
        GrowingLMDB(folder) as database,
        tqdm(total=records, unit="record", desc=recipe.dataset.name, disable=None) as progress,
    ):
        for made, datum in ordered(make, jobs, workers, min(slots, 2 * per_job), slot_bytes):
            database.put(f"{next(numbers):08d}_{made.key}", datum)
            counts += made.counts
            if made.inputs:
                inputs.append(made.inputs)
            progress.update()
    return inputs, counts


def _check_disk(scenes: Sequence[Scene], recipe: Recipe, make: Callable, out: Path) -> str:
    """Return a line that tells the size to expect; raise OutputError if the disk has no room for it."""
    values = [recipe.channels * recipe.side**2 + OVERHEAD]
    if recipe.encode != "raw":
        some = scenes[:: -(-len(scenes) // SAMPLES)]
        values = [len(data) for scene in some for _, data in make((scene, range(1)))]
    records = len(scenes) * recipe.variants
    size, most = file_size(records, np.mean(values)), file_size(records, max(values))
    free = shutil.disk_usage(Path(out).resolve().parent).free
    if most * SPARE > free:
        fact = f"needs about {size / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free"
        raise OutputError(out, fact, "choose another disk, fewer --variants or --encode png")
    return f"{out}: about {size / 1e6:,.1f} MB to write, {free / 1e6:,.1f} MB are free"
