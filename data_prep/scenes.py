"""Folders of scenes: an image and a mask for each id, found by the data set's patterns of file names."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.datasets import Dataset
from common.errors import DataError
from common.files import resolved
from common.numbers import plural
from data_prep.label_files import RASTER_SUFFIXES

# Endings of files that show something, read here or not.
PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".tif", ".tiff", ".gtiff"),
    *(".bmp", ".gif", ".webp", ".jp2", ".img"),
)


@dataclass(frozen=True)
class Scene:
    """One place: an image and its mask."""

    id: str
    image: Path
    mask: Path

    @property
    def has_raster(self) -> bool:
        """Whether its mask is a GeoTIFF."""
        return is_raster(self.mask)


def is_raster(path: Path) -> bool:
    """Return whether a file is a GeoTIFF by its name."""
    return path.suffix.lower() in RASTER_SUFFIXES


@dataclass(frozen=True)
class FilePatterns:
    """The names of images and masks of a data set, in folders of scenes."""

    images: tuple[str, ...]
    masks: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Dataset) -> "FilePatterns":
        """Return the names of a data set's files."""
        return cls(dataset.images, dataset.masks)

    @cached_property
    def _patterns(self) -> list[tuple[Path, re.Pattern, str]]:
        """Folder, name and kind of each pattern, those with most letters first: the closest fit counts."""
        patterns = [(pattern, kind) for kind in ("image", "mask") for pattern in getattr(self, f"{kind}s")]
        patterns.sort(key=lambda entry: len(entry[0]), reverse=True)
        return [(Path(pattern).parent, _name_pattern(pattern), kind) for pattern, kind in patterns]

    def image_id(self, path: Path) -> str | None:
        """Return the id in the name of an image, None if the name is not that of an image."""
        return next((id for id, kind in self._ids(path) if kind == "image"), None)

    def listed_id(self, entry: str) -> str:
        """Return the id that a line of a list means: itself, or that in the name of a file."""
        file = entry.replace("\\", "/").rpartition("/")[2]
        matches = (name.fullmatch(composed(file)) for _, name, _ in self._patterns)
        return next((match["id"] for match in matches if match), composed(entry))

    def is_mask(self, path: Path) -> bool:
        """Return whether a file is a mask by its name."""
        return next((kind for _, kind in self._ids(path)), "") == "mask"

    def _ids(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yield the (id, kind) of the closest pattern that a path's end fits; hidden files fit none."""
        if path.name.startswith("."):
            return
        for folder, name, kind in self._patterns:
            match = name.fullmatch(composed(path.name))
            if match and path.parent.parts[len(path.parent.parts) - len(folder.parts) :] == folder.parts:
                yield match["id"], kind
                return

    def listing(self, folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        """Return the images and the masks in a folder by id; DataError where there is no such folder."""
        if not folder.is_dir():
            examples = " and ".join((*self.images[:1], *self.masks[:1]))
            raise DataError(folder, "is not a folder", f"give a folder of {examples}")
        files = {"image": defaultdict(list), "mask": defaultdict(list)}
        for path, fit in self._files(folder):
            if fit:
                id, kind = fit
                files[kind][id].append(path)
        return files["image"], files["mask"]

    def unused(self, folder: Path) -> list[Path]:
        """Return the pictures in a folder that are neither images nor masks by their names.

        Hidden files are among them, as the `._1_sat.jpg` that macOS writes beside `1_sat.jpg`; what else
        belongs to an image that is there is not, as `1_preview.png` and another task's `1_hedges.png`.
        """
        ids, unused = self.listing(folder)[0], []
        for path, fit in self._files(folder):
            name = composed(path.name)
            belongs = any(name[:at] in ids for at, letter in enumerate(name) if not letter.isalnum())
            if fit is None and not belongs and path.suffix.strip().lower() in PICTURES:
                unused.append(path)
        return unused

    def _files(self, folder: Path) -> Iterator[tuple[Path, tuple[str, str] | None]]:
        """Yield each file where the patterns look, with its (id, kind) or None."""
        for part in dict.fromkeys(part for part, _, _ in self._patterns):
            patterns = [(name, kind) for at, name, kind in self._patterns if at == part]
            for path in sorted((folder / part).iterdir()) if (folder / part).is_dir() else ():
                name = composed(path.name)
                fits = ((pattern.fullmatch(name), kind) for pattern, kind in patterns if name[0] != ".")
                yield path, next(((match["id"], kind) for match, kind in fits if match), None)


def composed(text: str) -> str:
    """Return a text as ids are compared: letters with accents as one character (Unicode's form NFC).

    Some systems write the same name with the accents apart (NFD), so that two equal names differ.
    """
    return unicodedata.normalize("NFC", text)


def _name_pattern(pattern: str) -> re.Pattern:
    before, after = (re.escape(composed(part)) for part in Path(pattern).name.split("*"))
    return re.compile(f"{before}(?P<id>.*){after}", re.IGNORECASE | re.DOTALL)


def find_scenes(folders: Iterable[Path], dataset: Dataset, leave_out: Collection[str] = ()) -> list[Scene]:
    """Return the scenes of `folders`, but those of `leave_out`, sorted by id as text.

    Raises DataError for a missing or empty folder, an image without mask or a mask without image, an
    id that occurs twice (a scene's records are a function of its id), a name that cannot be an id, and
    what is not a file or, by a symbolic link, lies outside its folder.
    """
    scenes: dict[str, Scene] = {}
    for id, result in scan_scenes(folders, dataset, leave_out):
        if isinstance(result, DataError):
            raise result
        scenes[id] = result
    if not scenes:
        raise DataError("--leave-out", "leaves no scene", "leave fewer ids out")
    return [scenes[id] for id in sorted(scenes)]


def scan_scenes(
    folders: Iterable[Path], dataset: Dataset, leave_out: Collection[str] = ()
) -> Iterator[tuple[str, Scene | DataError]]:
    """Yield for each id in `folders` the Scene, or the error that keeps it from being one.

    Raises DataError for a folder that is missing or holds no scene at all.
    """
    known: dict[str, Path] = {}
    names = FilePatterns.of(dataset)
    for folder in map(Path, folders):
        images, masks = names.listing(folder)
        if not images:
            files = plural(sum(path.is_file() for path in folder.iterdir()), "file")
            fact = f"holds no {' or '.join(names.images)} among {files}"
            raise DataError(folder, fact, "give a folder of scenes")
        for id in sorted(images.keys() | masks.keys()):
            if id in leave_out:
                continue
            try:
                yield id, _pair(folder, id, images.get(id, []), masks.get(id, []), known, names)
            except DataError as error:
                yield id, error


def unused_line(folders: Iterable[Path], dataset: Dataset) -> str | None:
    """Return a line that counts the pictures in `folders` whose names are not the data set's, or None."""
    names = FilePatterns.of(dataset)
    unused = [path for folder in folders for path in names.unused(Path(folder))]
    if not unused:
        return None
    patterns = ", ".join((*names.images, *names.masks))
    return f"{counted(unused)}: not a name of {dataset.name} ({patterns})"


def counted(left_out: Sequence[Path]) -> str:
    """Say how many files are left out, and name one, not a hidden one if there is another."""
    example = min(left_out, key=lambda path: path.name.startswith("."))
    return f"{plural(len(left_out), 'file')} left out, as {printable(example)}"


def image_ids(folders: Iterable[Path], dataset: Dataset) -> set[str]:
    """Return the ids of all images in `folders`, usable or not."""
    names = FilePatterns.of(dataset)
    return {id for folder in folders for id in names.listing(Path(folder))[0]}


def _pair(
    folder: Path, id: str, images: list[Path], masks: list[Path], known: dict[str, Path], names: FilePatterns
) -> Scene:
    """Return the one scene of an id; raise DataError for anything wrong with its names."""
    for path in images + masks:
        check_file(path, id, folder)
    if not images:
        raise DataError(
            masks[0], "has no image", f"add {names.images[0].replace('*', id)} or remove the mask"
        )
    path = images[0]
    duplicate = images[1] if len(images) > 1 else path
    if duplicate != path or id in known:
        other = path if duplicate != path else known[id]
        raise DataError(duplicate, f"scene {id} is also {other}", "leave one of the two out")
    known[id] = path
    if not masks:
        likely = (name for name in names.masks if is_raster(Path(name)) == is_raster(path))
        expected = next(likely, names.masks[0]).replace("*", id)
        raise DataError(path, f"has no mask {expected}", "add the mask or remove the image")
    # A raster beside a picture's mask may be a map of it, and the other way round.
    matching = [mask for mask in masks if is_raster(mask) == is_raster(path)] or masks
    if len(matching) > 1:
        raise DataError(
            matching[1], f"is a mask of {id} beside {matching[0].name}", "leave one of the two out"
        )
    return Scene(id, path, matching[0])


def check_file(path: Path, id: str, folder: Path | None = None) -> None:
    """Raise DataError for a name that cannot be an id, and for what is not a file (of `folder`, if given)."""
    if not is_id(id):
        remedy = "rename it: printable characters, no space around them, no # in front"
        raise DataError(printable(path), "makes no scene id", remedy)
    if folder and path.is_symlink() and resolved(folder) not in resolved(path).parents:
        raise DataError(path, f"links to {resolved(path)}, outside its folder", "put the file itself there")
    if not path.is_file():
        raise DataError(path, "is not a regular file", "put an image there")


def is_id(text: str) -> bool:
    """Return whether a name can stand in a key, in a list with an id a line, and in an error of one line."""
    return bool(text) and text.isprintable() and text == text.strip() and not text.startswith("#")


def printable(text: object) -> str:
    """Return a text with backslashes in place of what cannot be printed, as new lines and broken UTF-8."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
