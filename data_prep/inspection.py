"""Checks a database against its manifest, and draws a sheet of its crops beside their labels."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from common.datasets import IGNORE, Dataset, display_bands
from common.errors import DataError, OutputError
from common.files import file_checksum, refuse_existing, staged_file
from common.numbers import check_number, plural
from data_prep.datums import from_datum, open_datums
from data_prep.manifest import DATA, Database, read_manifest
from data_prep.masks import check_labels, colours_from_labels

NEEDED = ("side", "records", "pixels", "encode", "variants", "data_mdb_sha256", "inputs")
REMEDY = "build the database again"
CELL = 256  # pixels a crop is wide on the sheet
MAX_CROPS = 1024
COLUMNS = 4  # pairs of a crop and its labels
LINE = 22  # pixels a line of text is high
FONT = (cv2.FONT_HERSHEY_SIMPLEX, 0.42)
INK, WHITE, HATCHING = (40, 40, 40), (255, 255, 255), (0, 0, 160)  # BGR


def check_database(path: Path) -> Database:
    """Check file, keys, shapes, labels and counts of a database against its manifest.

    Raises DataError, naming the key, at the first thing that is not as the manifest says.
    """
    manifest = _read_whole_manifest(path)
    dataset, channels = manifest["dataset"], len(manifest["bands"]) + 1
    expected_keys = {
        f"{entry['id']}_{k}" for entry in manifest["inputs"] for k in range(manifest["variants"])
    }
    counts = np.zeros(len(dataset.label_names), np.int64)
    seen = set()
    with open_datums(path, REMEDY) as (total, records):
        if total != manifest["records"]:
            raise DataError(
                path, f"holds {plural(total, 'record')}, its manifest says {manifest['records']}", REMEDY
            )
        for number, (key, value) in enumerate(
            tqdm(records, total=total, unit="record", desc="inspect", disable=None)
        ):
            where = f"{path}: record {key}"
            if key[:9] != f"{number:08d}_" or key[9:] not in expected_keys or key[9:] in seen:
                raise DataError(where, "has a key that its manifest does not have", REMEDY)
            seen.add(key[9:])
            counts += _check_record(from_datum(value, where), channels, manifest["side"], dataset, where)
    pixels = dict(zip(dataset.label_names, map(int, counts), strict=True))
    if pixels != manifest["pixels"]:
        raise DataError(path, f"holds {pixels}, its manifest says {manifest['pixels']}", REMEDY)
    return Database(total, pixels, (path / DATA).stat().st_size)


def _read_whole_manifest(path: Path) -> dict:
    """Return the manifest; raise DataError where it lacks something, or the file's checksum is another."""
    manifest = read_manifest(path)
    missing = [name for name in NEEDED if name not in manifest]
    if missing:
        raise DataError(path / "manifest.json", f"lacks {', '.join(missing)}", REMEDY)
    # Before LMDB maps it: a damaged file could end the process.
    if file_checksum(path / DATA) != manifest["data_mdb_sha256"]:
        raise DataError(path / DATA, "is not the file that the manifest describes (checksum)", REMEDY)
    return manifest


def _check_record(record: np.ndarray, channels: int, side: int, dataset: Dataset, where: str) -> np.ndarray:
    if record.shape != (channels, side, side):
        raise DataError(where, f"has shape {record.shape}, not ({channels}, {side}, {side})", REMEDY)
    return check_labels(record[-1], dataset, where)


def contact_sheet(path: Path, count: int) -> np.ndarray:
    """Draw `count` crops, spread over the database, each beside its labels: uint8 (H, W, 3), BGR.

    A legend stands below; ignored pixels are hatched. Raises DataError for a `count` beyond 1 to MAX_CROPS.
    """
    check_number("--crops", count, 1, MAX_CROPS)
    manifest = read_manifest(path)
    dataset, bands = manifest["dataset"], manifest["bands"]
    shown = [bands.index(band) for band in display_bands(tuple(bands))[::-1]]
    with open_datums(path, REMEDY) as (total, records):
        chosen = {(2 * k + 1) * total // (2 * min(count, total)) for k in range(min(count, total))}
        cells = [
            _cell(from_datum(value, f"{path}: record {key}"), key, dataset, shown)
            for number, (key, value) in enumerate(records)
            if number in chosen
        ]
    grid = _grid(cells)
    return np.vstack([grid, _legend(dataset, grid.shape[1])])


def check_sheet(path: Path, overwrite: bool) -> None:
    """Raise OutputError if a sheet cannot be written to `path`."""
    if path.suffix.lower() != ".png":
        raise OutputError(path, f"has the extension {path.suffix!r}", "use .png")
    refuse_existing(path, overwrite)


def write_sheet(path: Path, sheet: np.ndarray, overwrite: bool = False) -> None:
    """Write a sheet as PNG, in one step."""
    check_sheet(path, overwrite)
    with staged_file(path, overwrite) as staged:
        staged.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


def _cell(record: np.ndarray, key: str, dataset: Dataset, shown: Sequence[int]) -> np.ndarray:
    """Draw one crop and, right of it, its labels in the classes' colours; the key stands above."""
    image = np.ascontiguousarray(record[list(shown) * (3 // len(shown))].transpose(1, 2, 0))
    image = cv2.resize(image, (CELL, CELL), interpolation=cv2.INTER_AREA)
    labels = cv2.resize(np.ascontiguousarray(record[-1]), (CELL, CELL), interpolation=cv2.INTER_NEAREST)
    title = np.full((LINE, 2 * CELL, 3), 255, np.uint8)
    cv2.putText(title, _plain(key), (4, 15), *FONT, INK, 1, cv2.LINE_AA)
    pair = np.hstack([image, _coloured(labels, dataset)])
    return cv2.copyMakeBorder(np.vstack([title, pair]), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=WHITE)


def _coloured(labels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return labels, uint8 (h, w), in the classes' colours, BGR (h, w, 3); ignored ones hatched."""
    colours = cv2.cvtColor(colours_from_labels(labels, dataset), cv2.COLOR_RGB2BGR)
    rows, columns = np.indices(labels.shape, sparse=True)
    colours[(labels == IGNORE) & ((rows + columns) // 4 % 2 == 0)] = HATCHING
    return colours


def _legend(dataset: Dataset, width: int) -> np.ndarray:
    """Draw a swatch and the name of each class and of what is ignored, in as many lines as that takes."""
    lines = []
    left = width  # of the next swatch
    for label, name in (*enumerate(dataset.class_names), (IGNORE, dataset.ignore.name)):
        text = _plain(name)
        needed = cv2.getTextSize(text, *FONT, 1)[0][0] + 36
        if left + needed > width:
            lines.append(np.full((LINE, width, 3), 255, np.uint8))
            left = 4
        swatch = _coloured(np.full((14, 18), label, np.uint8), dataset)
        framed = cv2.copyMakeBorder(swatch, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=INK)
        lines[-1][3:19, left : left + 20] = framed
        cv2.putText(lines[-1], text, (left + 25, 15), *FONT, INK, 1, cv2.LINE_AA)
        left += needed
    return np.vstack(lines)


def _plain(text: str) -> str:
    """Return a text in the letters that OpenCV's font has."""
    return text.encode("ascii", "replace").decode()


def _grid(cells: Sequence[np.ndarray]) -> np.ndarray:
    columns = min(COLUMNS, len(cells))
    missing = -len(cells) % columns
    cells = [*cells, *[np.full_like(cells[0], 255)] * missing]
    return np.vstack([np.hstack(cells[at : at + columns]) for at in range(0, len(cells), columns)])
