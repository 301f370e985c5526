"""The prediction manifest of a scene, beside its maps: how they were made, and the checksums of its files."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from common.datasets import Dataset, read_dataset
from common.errors import DataError, OutputError
from common.files import file_checksum, short_checksum
from common.settings import explain_error
from data_prep.label_files import Labels, open_map
from inference.map_rasters import ATTRIBUTES_SUFFIX, SIDECARS, names_in

MANIFESTS = "manifests"  # folder in the folder of maps
FORMER = "records"  # its name in version 1.0, read where a scene has not been mapped again
CLASSES = "classes"  # key of the settings: names and colours of a map's classes
TEMPERATURE = "temperature"  # key of the settings: what its probabilities were scaled by, if by anything


def manifest_path(out: Path, id: str) -> Path:
    """Return where the manifest of scene `id` stands, or would."""
    path, former = (Path(out) / folder / f"{id}.json" for folder in (MANIFESTS, FORMER))
    return former if former.exists() and not path.exists() else path


def publish(
    out: Path, work: Path, id: str, names: Sequence[str], settings: Mapping[str, object], **entries: object
) -> None:
    """Give the files `names` of a scene, made in `work`, their final place in `out`, with a manifest.

    The manifest, with the files' checksums, comes first: so after a kill at any moment it shows which
    files are these. What an older manifest names, and this one does not, is removed, and so is what GDAL has
    written beside a file that is replaced: its overviews and statistics are of the old one. Raises OSError.
    """
    sums = {name: file_checksum(work / name) for name in names}
    manifest = {"id": id, "settings": settings, **entries, "sha256": sums}
    former, final = manifest_path(out, id), out / MANIFESTS / f"{id}.json"
    final.parent.mkdir(exist_ok=True)
    old = _read(former)
    staged = work / final.name
    staged.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    os.replace(staged, final)
    if former != final:
        former.unlink()
        with suppress(OSError):  # others are still there
            former.parent.rmdir()
    for name in names:
        if (out / name).exists():
            _remove_sidecars(out / name, names)
        os.replace(work / name, out / name)
    for name in old["sha256"] if old else ():
        path = out / name
        if name not in sums and path.parent == out and _is_whole(path, old):
            path.unlink()
            _remove_sidecars(path, names)


def _remove_sidecars(path: Path, names: Sequence[str]) -> None:
    for ending in SIDECARS:
        if path.name + ending not in names:
            path.with_name(path.name + ending).unlink(missing_ok=True)


def _is_whole(path: Path, manifest: dict | None) -> bool:
    """Return whether a file is the one that a manifest names; GDAL may have added to the names of classes."""
    checksum = manifest["sha256"].get(path.name) if manifest else None
    if checksum is None or not path.is_file():
        return False
    if file_checksum(path) == checksum:
        return True
    names = [entry["name"] for entry in manifest.get("dataset", {}).get("classes", [])]
    return path.name.endswith(ATTRIBUTES_SUFFIX) and names_in(path) == names


def has_trained(path: Path, id: str) -> bool:
    """Return whether scene `id` trained the weights that made its map `path`, as far as its manifest says."""
    manifest = _read(manifest_path(path.parent, id))
    return bool(manifest and manifest["sha256"].get(path.name) and manifest.get("has_trained"))


def map_weights(path: Path, id: str) -> tuple[str, ...]:
    """Return the short checksums of the weights that made the map `path`; none where no manifest says it."""
    manifest = _read(manifest_path(path.parent, id))
    known = manifest is not None and path.name in manifest["sha256"]
    return tuple(manifest["settings"].get("weights", ())) if known else ()


def map_dataset(path: Path, id: str) -> Dataset | None:
    """Return the data set of the map `path` of scene `id`, by its manifest; None where there is none."""
    manifest = _read(manifest_path(path.parent, id))
    if (
        manifest is None
        or manifest["sha256"].get(path.name) != file_checksum(path)
        or "dataset" not in manifest
    ):
        return None
    try:
        return Dataset.model_validate(manifest["dataset"])
    except ValidationError as error:
        fact = f"has no data set ({explain_error(error)[0]})"
        raise DataError(manifest_path(path.parent, id), fact, "predict the scene again") from error


def dataset_by_manifests(maps: Iterable[tuple[str, Path]], named: str | None) -> Dataset:
    """Return the data set that a user names, else that of the first map whose manifest says it.

    `maps` are (id, path). Raises DataError where no manifest does.
    """
    if named is not None:
        return read_dataset(named)
    folders = []
    for id, path in maps:
        if dataset := map_dataset(path, id):
            return dataset
        folders.append(path.parent)
    raise DataError(folders[0], "has no manifest of these maps", "name it by --dataset")


@contextmanager
def open_map_of(path: Path, id: str, dataset: Dataset) -> Iterator[Labels]:
    """Open the map `path` of scene `id`; DataError where it is of other classes than those of `dataset`."""
    made_for = map_dataset(path, id) or dataset
    if difference := dataset.difference(made_for):
        remedy = f"give maps of {dataset.name}, or name the maps' data set by --dataset"
        raise DataError(path, f"is a map of {difference} as {dataset.name} has", remedy)
    with open_map(path, made_for) as labels:
        yield labels


def is_finished(
    out: Path, id: str, image: Path, names: Sequence[str], settings: Mapping[str, object], overwrite: bool
) -> bool:
    """Return whether all files `names` of a scene are there, whole, and made with `settings` from `image`.

    Raises OutputError, unless `overwrite`, where files are there that were made in another way or by
    somebody else, and DataError where one cannot be read; with `overwrite` nothing is finished.
    """
    if overwrite:
        return False
    manifest = _read(manifest_path(out, id))
    known = {*names, *(manifest["sha256"] if manifest else ())}
    present = [path for path in (Path(out) / name for name in sorted(known)) if path.exists()]
    if not present:
        return False
    for path in present:
        if not _is_whole(path, manifest):
            fact = "exists already, and no manifest says how it was made"
            raise OutputError(path, fact, "give --overwrite to replace it, or another --out")
    now = {**settings, "image": short_checksum(image)}
    recorded = manifest["settings"].keys()
    for key in sorted(now.keys() - ({CLASSES} - recorded) | recorded):  # version 1.0 recorded no classes
        was = manifest["settings"].get(key)
        if was != json.loads(json.dumps(now.get(key))):
            fact = f"was made with {key} {_text(was)}, now it is {_text(now.get(key))}"
            raise OutputError(present[0], fact, "give --overwrite to make it again, or another --out")
    return all((Path(out) / name).exists() for name in names)


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _read(path: Path) -> dict | None:
    """Return a manifest, or None where there is none that can be used."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8-sig"))
        known = isinstance(manifest["sha256"], dict) and isinstance(manifest["settings"], dict)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return manifest if known else None
