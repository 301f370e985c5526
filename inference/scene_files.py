"""Which images and masks a command means: files, folders, and the scene ids in their names."""

import glob
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.datasets import Dataset
from common.errors import DataError
from common.files import resolved
from data_prep.scenes import FilePatterns, check_file, composed, counted, image_ids
from data_prep.subsets import Subset

MAP_SUFFIX, RASTER_SUFFIX = "_mask.png", "_mask.tif"  # of the maps that are written
MAPS = (f"*{MAP_SUFFIX}", f"*{RASTER_SUFFIX}", f"*{RASTER_SUFFIX}f")
SAME_PART = "give all the folders that build-lmdb was given, and the same --split or --hold-out"
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


@dataclass(frozen=True)
class ScenePath:
    """A scene's id and one file of it."""

    id: str
    path: Path


@dataclass(frozen=True)
class MaskPair:
    """A scene's id, its true mask and its predicted one."""

    id: str
    truth: Path
    predicted: Path


def find_images(
    inputs: Iterable[Path],
    dataset: Dataset,
    leave_out: Collection[str] = (),
    refuse: Callable[[DataError], None] | None = None,
) -> list[ScenePath]:
    """Return the images that `inputs` mean, in their order, a folder's by name.

    A file means itself, but that masks beside images are passed over, as a shell gives them for `scenes/*`; a
    folder, or a pattern as `scenes/*_sat.*`, its images by the data set's names, or all images but masks
    where it has none of these. An id is what a name has in the place of the pattern's `*`, or the name
    without its ending. Raises DataError for a missing path, a folder or a pattern without images, masks
    alone, and two images of one id, since their maps would have one name; of the ids in `leave_out`, which
    the caller does not map, there may be two. A name that cannot be an id, and what is not a file, are raised
    too, or go to `refuse`.
    """
    names = FilePatterns.of(dataset)
    images: dict[str, Path] = {}
    inputs = [Path(argument) for argument in inputs]
    masks = {argument for argument in inputs if names.is_mask(argument) and argument.is_file()}
    if masks and masks.issuperset(inputs):
        fact = f"is a mask by its name ({', '.join(names.masks)})"
        raise DataError(inputs[0], fact, "give images, or rename it")
    for argument in inputs:
        for path in _images_of(argument, names) if argument not in masks else ():
            id = names.image_id(path) or composed(path.stem)
            try:
                check_file(path, id)
            except DataError as error:
                if refuse is None:
                    raise
                refuse(error)
                continue
            if id in images and id not in leave_out and resolved(images[id]) != resolved(path):
                raise DataError(path, f"has the id {id} of {images[id]}", "predict them into two folders")
            images.setdefault(id, path)
    return [ScenePath(id, path) for id, path in images.items()]


def passed_over(inputs: Iterable[Path], dataset: Dataset) -> str | None:
    """Return a line that counts what `inputs` hold and `find_images` passes over, or None.

    Those are pictures in folders whose names are not the data set's, if other names there are; and masks.
    """
    names = FilePatterns.of(dataset)
    unused = []
    for argument in map(Path, inputs):
        if argument.is_dir() and names.listing(argument)[0]:
            unused += names.unused(argument)
        elif argument.is_file():
            unused += [argument] * names.is_mask(argument)
        else:
            files = [path for path in map(Path, _matches(argument)) if path.suffix.lower() in SUFFIXES]
            others = [path for path in files if names.image_id(path) is None]
            unused += others if len(others) < len(files) else []
    return f"{counted(unused)}: not an image of {dataset.name} by its name" if unused else None


def _images_of(argument: Path, names: FilePatterns) -> list[Path]:
    """Return the images that one argument means."""
    if argument.is_dir():
        listed = [path for paths in names.listing(argument)[0].values() for path in paths]
        return sorted(listed) or _images(argument, sorted(argument.iterdir()), names, "holds no image")
    if argument.is_file():
        return [argument]
    if not glob.has_magic(str(argument)):
        raise DataError(argument, "is neither a file nor a folder", "check the path")
    return _images(argument, map(Path, _matches(argument)), names, "matches no image")


def _matches(pattern: Path) -> list[str]:
    return sorted(glob.glob(str(pattern), recursive=True))


def _images(argument: Path, paths: Iterable[Path], names: FilePatterns, fact: str) -> list[Path]:
    files = [path for path in paths if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    scenes = [path for path in files if names.image_id(path) is not None]
    images = scenes or [path for path in files if not names.is_mask(path)]
    if not images:
        raise DataError(argument, fact, f"give one of {', '.join(SUFFIXES)} files")
    return images


def find_true_masks(folder: Path, dataset: Dataset) -> dict[str, Path]:
    """Return the true masks of a data set in a folder by id, sorted; DataError for none, or two of one id."""
    names = FilePatterns.of(dataset)
    return _by_id(Path(folder), names.listing(Path(folder))[1], names.masks)


def find_maps(folder: Path) -> dict[str, Path]:
    """Return the maps of a folder by id, <id>_mask.png and <id>_mask.tif, as `find_true_masks` does."""
    names = FilePatterns((), MAPS)
    return _by_id(Path(folder), names.listing(Path(folder))[1], names.masks)


def given_map(path: Path) -> tuple[str, Path]:
    """Return the id of a map's file, which is a name of its own without its ending, and its path."""
    if not path.is_file():
        raise DataError(path, "is not a file", "give a map of dfcnet predict")
    return FilePatterns(MAPS, ()).image_id(path) or path.stem, path


def given_maps(inputs: Iterable[Path]) -> dict[str, Path]:
    """Return the maps that `inputs` mean, files and those in folders, by id.

    Raises DataError for a missing path, a folder without maps, and two maps of one id.
    """
    maps: dict[str, Path] = {}
    for given in map(Path, inputs):
        for id, path in find_maps(given).items() if given.is_dir() else [given_map(given)]:
            if id in maps and maps[id].resolve() != path.resolve():
                raise DataError(path, f"has the id {id} of {maps[id]}", "leave one of the two out")
            maps.setdefault(id, path)
    return maps


def _by_id(folder: Path, masks: dict[str, list[Path]], patterns: Sequence[str]) -> dict[str, Path]:
    for id, paths in masks.items():
        if len(paths) > 1:
            raise DataError(paths[1], f"has the id {id} of {paths[0].name}", "leave one of the two out")
    if not masks:
        raise DataError(folder, f"holds no {' or '.join(patterns)}", "give a folder of masks")
    return {id: masks[id][0] for id in sorted(masks)}


def pair_masks(
    truth: Path, predicted: Path, dataset: Dataset, only_predicted: bool = False, subset: Subset | None = None
) -> list[MaskPair]:
    """Pair the masks of two folders by id, sorted; with a `subset` only those of its scenes.

    Each true mask must have its prediction, unless `only_predicted`; each prediction its true mask, unless
    `subset` leaves its scene out. Images that stand beside the true masks count where every K-th is taken.
    Raises DataError, naming the first one alone and how many there are.
    """
    true_masks, predictions = find_true_masks(truth, dataset), find_maps(predicted)
    if subset is not None:
        scenes = [ScenePath(id, path) for id, path in true_masks.items()]
        if error := subset.missing(scenes):
            raise error
        listed = image_ids([truth], dataset) | true_masks.keys()
        true_masks = {scene.id: scene.path for scene in subset.select(scenes, listed)}
        excluded = subset.excluded(listed)
        predictions = {id: path for id, path in predictions.items() if id not in excluded}
    if not only_predicted:
        remedy = "predict them too, or give the --split or --hold-out of dfcnet predict, or --only-predicted"
        _refuse_unpaired(predicted, true_masks, predictions, "prediction", remedy)
    remedy = "remove the prediction, or add its true mask"
    _refuse_unpaired(truth, predictions, true_masks, "true mask", remedy)
    if not predictions:
        raise DataError(predicted, "holds no map of these scenes", "predict them first")
    return [MaskPair(id, true_masks[id], path) for id, path in predictions.items()]


def _refuse_unpaired(folder: Path, expected: dict, present: dict, kind: str, remedy: str) -> None:
    missing = sorted(expected.keys() - present.keys())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(Path(folder), f"lacks the {kind} of scene {missing[0]}{more}", remedy)


def evenly_spaced(ids: Sequence[str], count: int) -> Iterator[str]:
    """Yield at most `count` of `ids`, spread evenly over them."""
    count = min(count, len(ids))
    return (ids[(2 * i + 1) * len(ids) // (2 * count)] for i in range(count))
