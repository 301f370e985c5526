"""Snapshots of a run: whole or not there at all, checked by checksums, the newest and the best kept.

runs/<name>/snapshots/iter_00000400/ holds weights.caffemodel, their model card weights.json,
solver.solverstate and manifest.json. It is put together under a hidden name, synced to the disk, and renamed;
the manifest is written last. Older runs' snapshots have no card. A copy under another name does not count.
"""

import json
import math
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import DataError, RunError, WeightsError
from common.files import file_checksum, write_text
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.model_card import ModelCard, card_path, write_card

WEIGHTS, STATE, MANIFEST = "weights.caffemodel", "solver.solverstate", "manifest.json"
CARD = card_path(Path(WEIGHTS)).name
NAME = re.compile(r"iter_(\d{8,})")
STAGED = ".caffe"  # where Caffe writes: <snapshots>/.caffe_iter_N.caffemodel and .solverstate
ROOM = 5  # free space wanted, in weights: they, up to two histories, and a copy of these


@dataclass(frozen=True)
class Snapshot:
    """One snapshot on the disk."""

    folder: Path
    iteration: int
    ranks: int
    score: float | None  # mIoU of the validation at this iteration, if there was one

    @property
    def weights(self) -> Path:
        """Weights, BatchNorm's statistics included."""
        return self.folder / WEIGHTS

    @property
    def state(self) -> Path:
        """Iteration and momentum."""
        return self.folder / STATE


def write(solver, folder: Path, ranks: int, card: ModelCard, score: float | None = None) -> Snapshot:
    """Write a snapshot of a caffe solver whose prefix is `folder`/.caffe, and the `card` of its weights.

    Raises RunError if the disk is full. Caffe writes in place and does not notice that: so the room is
    checked before, and what was written is read again after. An older snapshot is never touched.
    """
    iteration = solver.iter
    _check_room(solver, folder)
    clean(folder)
    solver.snapshot()
    written = folder / f"{STAGED}_iter_{iteration}"
    final = folder / f"iter_{iteration:08d}"
    staged = folder / f".{final.name}"
    try:
        check_weights(solver, written.with_suffix(".caffemodel"))
        staged.mkdir()
        os.replace(written.with_suffix(".caffemodel"), staged / WEIGHTS)
        _write_state(written.with_suffix(".solverstate"), staged / STATE, iteration)
        write_card(staged / WEIGHTS, card)
        manifest = {"iteration": iteration, "ranks": ranks, "score": score}
        manifest["sha256"] = {name: file_checksum(staged / name) for name in (WEIGHTS, CARD, STATE)}
        (staged / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        for path in (*staged.iterdir(), staged):
            _sync(path)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(staged, final)
        _sync(folder)
    except (OSError, DataError) as error:
        clean(folder)
        cause = error.strerror if isinstance(error, OSError) else error.fact
        raise RunError(
            folder,
            f"the snapshot at iteration {iteration} cannot be written ({cause})",
            "make room on the disk, then continue with --resume",
        ) from error
    return Snapshot(final, iteration, ranks, score)


def _check_room(solver, folder: Path) -> None:
    values = sum(blob.count for blobs in solver.net.params.values() for blob in blobs)
    needed, free = ROOM * 4 * values, shutil.disk_usage(folder).free
    if free < needed:
        need = f"a snapshot needs {needed / 1e6:,.1f} MB (iteration {solver.iter})"
        remedy = "make room on the disk, then continue with --resume"
        raise RunError(folder, f"{free / 1e6:,.1f} MB are free, {need}", remedy)


def check_weights(solver, written: Path) -> None:
    """Raise OSError if what Caffe wrote does not hold the weights of the net."""
    try:
        weights = read_caffemodel(written)
    except WeightsError as error:
        raise OSError(28, "the weights that Caffe wrote are cut off") from error
    for name, blobs in solver.net.params.items():
        for blob, values in zip(blobs, weights.get(name, ()), strict=False):
            if not np.array_equal(values.ravel(), blob.data.ravel()):
                raise OSError(5, f"layer {name} was not written as it is")
        if len(weights.get(name, ())) != len(blobs):
            raise OSError(28, "the weights that Caffe wrote are cut off")


def _write_state(written: Path, path: Path, iteration: int) -> None:
    """Copy Caffe's state without the path of the weights in it: so a run's folder can be moved."""
    from google.protobuf.message import DecodeError

    try:
        state = caffe_pb2().SolverState.FromString(written.read_bytes())
    except DecodeError as error:
        raise OSError(28, "the state that Caffe wrote is cut off") from error
    if state.iter != iteration or not state.history:
        raise OSError(28, "the state that Caffe wrote is cut off")
    state.ClearField("learned_net")
    path.write_bytes(state.SerializeToString())
    written.unlink()


def listed(folder: Path) -> list[Path]:
    """Return the folders of snapshots, whole or not, by iteration."""
    named = {path: NAME.fullmatch(path.name) for path in folder.glob("iter_*")}
    return sorted((path for path, match in named.items() if match), key=_iteration)


def _iteration(path: Path) -> int:
    return int(path.name.removeprefix("iter_"))


def newest(folder: Path, log: Callable[[str], None]) -> Snapshot | None:
    """Return the newest whole snapshot; `log` names each broken one that is passed over."""
    for path in reversed(listed(folder)):
        try:
            return read(path)
        except RunError as error:
            log(f"passed over: {error}")
    return None


def read(path: Path) -> Snapshot:
    """Return the snapshot in a folder; RunError if a file of it is missing or has another checksum."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name, checksum in manifest["sha256"].items():
            if file_checksum(path / name) != checksum:
                raise RunError(
                    path / name, "does not have the checksum of its manifest", "take an older snapshot"
                )
        if manifest["iteration"] != _iteration(path) or not {WEIGHTS, STATE} <= manifest["sha256"].keys():
            raise ValueError(f"iteration {manifest['iteration']}, {', '.join(manifest['sha256'])}")
        return Snapshot(path, manifest["iteration"], manifest["ranks"], manifest["score"])
    except OSError as error:
        raise RunError(path, f"is not whole ({error.strerror})", "take an older snapshot") from error
    except DataError as error:
        raise RunError(error.where, error.fact, "take an older snapshot") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(path / MANIFEST, f"is broken ({error})", "take an older snapshot") from error


def drop_after(folder: Path, iteration: int) -> None:
    """Remove snapshots later than the one that a run continues from: they are broken."""
    for path in listed(folder):
        if _iteration(path) > iteration:
            _remove(path)


def add_score(snapshot: Snapshot, score: float | None) -> None:
    """Note the validation's mIoU in a snapshot's manifest; None where no pixel could be scored."""
    path = snapshot.folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8")) | {"score": score}
    write_text(path, json.dumps(manifest, indent=1) + "\n")


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` snapshots and the one with the best score."""
    paths = listed(folder)
    scores = {path: _score(path) for path in paths}
    best = max(
        (path for path in paths if scores[path] is not None), key=lambda path: scores[path], default=None
    )
    for path in paths[: max(0, len(paths) - keep)]:
        if path != best:
            _remove(path)


def _remove(path: Path) -> None:
    hidden = path.with_name(f".old_{path.name}")
    os.replace(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def clean(folder: Path) -> None:
    """Remove what an interrupted write or removal has left."""
    for path in folder.glob(".*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _score(path: Path) -> float | None:
    try:
        score = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["score"]
    except (OSError, ValueError, KeyError):
        return None
    return None if score is None or math.isnan(score) else score


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
