"""Scenes -> records -> an LMDB for Caffe's Data layer: whole or not at all, by any number of workers."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import lmdb
import numpy as np
from tqdm import tqdm

from common.errors import DataError, OutputError
from common.files import refuse_existing, resolved, staged_folder
from common.numbers import plural
from data_prep.build_lock import build_lock
from data_prep.datums import OVERHEAD, largest_datum, to_datum
from data_prep.growing_lmdb import GrowingLMDB, file_size
from data_prep.manifest import DATA, MANIFEST, Database, write_manifest
from data_prep.masks import check_labels
from data_prep.read_options import ReadOptions
from data_prep.records import RecordConfig, make_record
from data_prep.scene_pixels import open_scene, refuse_one_class
from data_prep.scenes import Scene
from data_prep.workers import Result, check_workers, keep_memory, ordered, refuse_crash
from prototxt_gen.caffe_proto import caffe_pb2

JOB_RECORDS = 16  # variants made from one decoding: a worker's memory holds a job's records
SLOT_BYTES = 96 << 20  # of results a worker may hold
SAMPLES = 5  # records encoded to estimate the size
SPARE = 1.05  # free disk space asked for, as a multiple of the estimate


@dataclass(frozen=True)
class _RecordInfo:
    """What goes with a record's bytes: its key's end, pixels per label, and once per scene the inputs."""

    key: str
    counts: np.ndarray
    inputs: dict | None


def write_database(
    scenes: Sequence[Scene],
    config: RecordConfig,
    out: Path,
    overwrite: bool = False,
    split: dict | None = None,
    *,
    workers: int | None = None,
    numbers: tuple[int, ...] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Database:
    """Write `config.variants` records of each scene to a new LMDB at `out`, whole or not at all.

    Keys are `00000017_<id>_<variant>`: Caffe reads in key order and never shuffles, so the numbers are
    a permutation drawn from the seed. The same scenes and config give the same bytes, with any number
    of `workers` (None: in this process). `split` is recorded in the manifest, `numbers` are those of the
    bands (see `ReadOptions`), `log` gets the estimated size and, once the database is there, a line on each
    unusual way of reading.
    Raises DataError for a bad scene, OutputError for an output that is in the way or a disk that is too full.
    """
    check_workers(workers)
    refuse_existing(out, overwrite, markers=(MANIFEST,))
    refuse_one_class(scenes, config.dataset)
    read_options = ReadOptions.of(config.dataset, config.bands, numbers, config.mean)
    caffe_pb2()  # say now, not after the first scene, that Caffe is missing
    make = partial(_scene_records, config=config, read_options=read_options)
    keep_memory()  # LMDB takes and frees a record's pages for each record
    with build_lock(out):
        log(_check_disk(scenes, config, make, out))
        with staged_folder(out, overwrite, markers=(MANIFEST,)) as staged:
            try:
                inputs, counts = _write_records(make, scenes, config, staged, workers)
                pixels = dict(zip(config.dataset.label_names, map(int, counts), strict=True))
                if not counts[:-1].any():
                    fact = f"have no pixel of a class in {plural(len(scenes) * config.variants, 'record')}"
                    raise DataError("the scenes", fact, "check their masks with dfcnet verify-data")
                database = Database(len(scenes) * config.variants, pixels, (staged / DATA).stat().st_size)
                write_manifest(staged, config, database, inputs, split=split, band_numbers=numbers)
            except (lmdb.Error, OSError) as error:
                raise OutputError(
                    out, f"cannot be written ({error})", "check the disk's free space"
                ) from error
    for line in _unusual(inputs):
        log(line)
    return database


def _scene_records(
    job: tuple[Scene, range], config: RecordConfig, read_options: ReadOptions
) -> Iterator[tuple[_RecordInfo, bytes]]:
    """Make some variants of one scene, which is decoded once; yield each with its serialised Datum."""
    scene, variants = job
    with open_scene(scene, config.dataset, read_options) as pixels:
        for variant in variants:
            record = make_record(pixels, scene.id, variant, config)
            counts = check_labels(record[-1], config.dataset, f"{scene.id} variant {variant}")
            inputs = _inputs(scene, pixels) if variant == 0 else None
            yield _RecordInfo(f"{scene.id}_{variant}", counts, inputs), to_datum(record, config.encode)


def _refuse(job: tuple[Scene, range], by: str) -> Result:
    """Raise the DataError of a scene at which a signal ended the process that read it."""
    raise refuse_crash(f"{job[0].image} or {job[0].mask.name}", by)


def _inputs(scene: Scene, pixels) -> dict:
    return {
        "id": scene.id,
        "image": str(scene.image),
        "image_sha256": pixels.image_sha256,
        "mask": str(scene.mask),
        "mask_sha256": pixels.mask_sha256,
        **pixels.read_as,
    }


def _unusual(inputs: Sequence[dict]) -> Iterator[str]:
    """Yield a line for each way in which images were read that is not for granted, with their number."""
    for note in dict.fromkeys(entry["note"] for entry in inputs if "note" in entry):
        images = [entry["image"] for entry in inputs if entry.get("note") == note]
        yield f"{len(images)} of {plural(len(inputs), 'image')}, as {images[0]}: {note}"
    if stretched := [entry["image"] for entry in inputs if entry.get("stretch")]:
        change = "stretched to 0-255, as the manifest says"
        yield f"{len(stretched)} of {plural(len(inputs), 'image')}, as {stretched[0]}: {change}"


def _write_records(
    make: Callable, scenes: Sequence[Scene], config: RecordConfig, folder: Path, workers: int | None
) -> tuple[list[dict], np.ndarray]:
    """Fill the LMDB, scene by scene; return the inputs with their checksums, and pixels per label."""
    records = len(scenes) * config.variants
    numbers = iter(np.random.default_rng(config.seed).permutation(records).tolist())
    counts = np.zeros(len(config.dataset.label_names), np.int64)
    inputs = []
    slot_bytes = largest_datum(config.channels, config.side)
    slots = max(2, SLOT_BYTES // slot_bytes)
    per_job = min(JOB_RECORDS, slots)
    jobs = [
        (scene, range(first, min(first + per_job, config.variants)))
        for scene in scenes
        for first in range(0, config.variants, per_job)
    ]
    with (
        GrowingLMDB(folder) as database,
        tqdm(total=records, unit="record", desc=config.dataset.name, disable=None) as progress,
    ):
        records_made = ordered(make, jobs, workers, min(slots, 2 * per_job), slot_bytes, crashed=_refuse)
        for made, datum in records_made:
            database.put(f"{next(numbers):08d}_{made.key}", datum)
            counts += made.counts
            if made.inputs:
                inputs.append(made.inputs)
            progress.update()
    return inputs, counts


def _check_disk(scenes: Sequence[Scene], config: RecordConfig, make: Callable, out: Path) -> str:
    """Return a line with the size to expect; raise OutputError if the disk has no room for it."""
    values = [config.channels * config.side**2 + OVERHEAD]
    if config.encode != "raw":
        sample = scenes[:: -(-len(scenes) // SAMPLES)]
        values = [len(data) for scene in sample for _, data in make((scene, range(1)))]
    records = len(scenes) * config.variants
    size, largest = file_size(records, np.mean(values)), file_size(records, max(values))
    free = shutil.disk_usage(resolved(out).parent).free
    if largest * SPARE > free:
        fact = f"needs about {size / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free"
        raise OutputError(out, fact, "choose another disk, fewer --variants or --encode png")
    return f"{out}: about {size / 1e6:,.1f} MB to write, {free / 1e6:,.1f} MB are free"
