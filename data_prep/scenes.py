"""Folders of scenes: pairs of `<id>_sat.jpg` and `<id>_mask.png`, or of GeoTIFFs, found and read strictly."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import DataError
from data_prep.classes import Task, labels_from_mask
from data_prep.decoding import decode, read_bytes
from data_prep.label_values import LabelValues
from data_prep.reading import AS_IT_IS, Reading

MASK_ENDING, LABELS_ENDING = "_mask.png", "_mask.tif"
RASTER_ENDINGS = ("_sat.tif", "_sat.tiff")  # GeoTIFF
IMAGE_ENDINGS = ("_sat.jpg", "_sat.jpeg", "_sat.png", *RASTER_ENDINGS)
LABELS_ENDINGS = (LABELS_ENDING, f"{LABELS_ENDING}f")  # of GeoTIFFs: integers that a file maps
MASK_ENDINGS = (MASK_ENDING, *LABELS_ENDINGS)


@dataclass(frozen=True)
class Scene:
    """One place: an image and its mask."""

    id: str
    image: Path
    mask: Path

    @property
    def is_raster(self) -> bool:
        """Whether it is a pair of GeoTIFFs."""
        return self.image.name.endswith(RASTER_ENDINGS)


@dataclass(frozen=True)
class ScenePixels:
    """A decoded scene: `image` uint8 (H, W, 3) BGR, `labels` uint8 (H, W), and the files' SHA-256."""

    image: np.ndarray
    labels: np.ndarray
    image_sha256: str
    mask_sha256: str

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.labels.shape

    @property
    def read_as(self) -> dict:
        """Nothing: a picture is read in one way only."""
        return {}

    def read_image(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the image, uint8 (h, w, 3), BGR."""
        return self.image[rows, columns]

    def read_labels(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the labels, uint8 (h, w)."""
        return self.labels[rows, columns]


def find_scenes(folders: Iterable[Path], leave_out: Collection[str] = ()) -> list[Scene]:
    """Return the scenes of `folders`, but those of `leave_out`, sorted by id as text.

    Raises DataError for a missing or empty folder, an image without mask or a mask without image, an
    id that occurs twice (a scene's records are a function of its id), a name that makes no id, and a
    file that is none or, by a symbolic link, lies outside its folder.
    """
    scenes: dict[str, Scene] = {}
    for id, found in survey(folders, leave_out):
        if isinstance(found, DataError):
            raise found
        scenes[id] = found
    if not scenes:
        raise DataError("--leave-out", "leaves no scene", "leave fewer ids out")
    return [scenes[id] for id in sorted(scenes)]


def survey(
    folders: Iterable[Path], leave_out: Collection[str] = ()
) -> Iterator[tuple[str, Scene | DataError]]:
    """Yield for each id in `folders` the Scene, or the error that keeps it from being one.

    Raises DataError for a folder that is missing or holds no scene at all.
    """
    known: dict[str, Path] = {}
    for folder in map(Path, folders):
        images, masks = _listing(folder)
        for id in sorted(images.keys() | masks.keys()):
            if id in leave_out:
                continue
            try:
                yield id, _pair(folder, id, images.get(id, []), masks.get(id, []), known)
            except DataError as error:
                yield id, error


def image_ids(folders: Iterable[Path]) -> set[str]:
    """Return the ids of all images in `folders`, usable or not."""
    names = (path.name for folder in folders for path in Path(folder).iterdir())
    return {name.removesuffix(ending) for name in names for ending in IMAGE_ENDINGS if name.endswith(ending)}


def _listing(folder: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the names of the images and of the masks in a folder by id."""
    if not folder.is_dir():
        raise DataError(folder, "is no folder", "give a folder of <id>_sat.jpg and <id>_mask.png")
    names = sorted(path.name for path in folder.iterdir())
    found = []
    for endings in (IMAGE_ENDINGS, MASK_ENDINGS):
        by_id: dict[str, list[str]] = {}
        for name in names:
            for ending in endings:
                if name.endswith(ending):
                    by_id.setdefault(name.removesuffix(ending), []).append(name)
        found.append(by_id)
    if not found[0]:
        raise DataError(folder, f"holds no *_sat.jpg among {len(names)} files", "give a folder of scenes")
    return found[0], found[1]


def _pair(folder: Path, id: str, images: list[str], masks: list[str], known: dict[str, Path]) -> Scene:
    """Return the one scene of an id; raise DataError for anything wrong with its names."""
    for name in images + masks:
        _check_file(folder, name, id)
    if not images:
        raise DataError(folder / masks[0], "has no image", f"add {id}_sat.jpg or remove the mask")
    path = folder / images[0]
    twin = folder / images[1] if len(images) > 1 else path
    if twin != path or id in known:
        other = path if twin != path else known[id]
        raise DataError(twin, f"scene {id} is also {other}", "leave one of the two out")
    known[id] = path
    fitting = LABELS_ENDINGS if path.name.endswith(RASTER_ENDINGS) else (MASK_ENDING,)
    found = [name for name in masks if name.endswith(fitting)]
    if not found:
        raise DataError(path, f"has no mask {id}{fitting[0]}", "add the mask or remove the image")
    if len(found) > 1:
        raise DataError(folder / found[1], f"is a mask of {id} beside {found[0]}", "leave one of the two out")
    return Scene(id, path, folder / found[0])


def _check_file(folder: Path, name: str, id: str) -> None:
    """Raise DataError for a name that makes no id, and for what is no file of this folder."""
    path = folder / name
    if not is_id(id):
        remedy = "rename it: printable characters, no space around them, no # in front"
        raise DataError(printable(path), "makes no scene id", remedy)
    if path.is_symlink() and folder.resolve() not in path.resolve().parents:
        raise DataError(path, f"links to {path.resolve()}, outside its folder", "put the file itself there")
    if not path.is_file():
        raise DataError(path, "is no regular file", "put an image there")


def is_id(text: str) -> bool:
    """Tell whether a name can stand in a key, in a list with an id a line, and in an error of one line."""
    return bool(text) and text.isprintable() and text == text.strip() and not text.startswith("#")


def printable(text: object) -> str:
    """Return a text with backslashes in place of what cannot be printed, as new lines and broken UTF-8."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


@contextmanager
def open_scene(
    scene: Scene, task: Task, values: LabelValues | None = None, reading: Reading = AS_IT_IS
) -> Iterator:
    """Yield a scene's pixels: decoded ScenePixels, or RasterPixels that read a GeoTIFF window by window.

    `values` maps the numbers in GeoTIFF masks to labels, `reading` says how their images are read. Raises
    DataError, naming the file, for anything wrong with the scene.
    """
    if not scene.is_raster:
        reading.no_bands_for(scene.image)
        yield read_scene(scene, task)
        return
    from data_prep.rasters import open_raster

    if values is None:
        raise DataError(scene.mask, "holds numbers", "say by --mapping which class each of them is")
    with open_raster(scene.image, scene.mask, values, reading) as pixels:
        yield pixels


def read_scene(scene: Scene, task: Task) -> ScenePixels:
    """Decode a scene strictly; raise DataError, naming the file, for anything wrong with it."""
    image_bytes, mask_bytes = read_bytes(scene.image), read_bytes(scene.mask)
    image, mask = decode(image_bytes, scene.image), decode(mask_bytes, scene.mask, rgb=True)
    if image.shape != mask.shape:
        raise size_mismatch(scene.mask, mask.shape, image.shape)
    labels = labels_from_mask(mask, task, scene.mask)
    sums = (hashlib.sha256(data).hexdigest() for data in (image_bytes, mask_bytes))
    return ScenePixels(image, labels, *sums)


def size_mismatch(mask: Path, size: tuple[int, ...], image_size: tuple[int, ...]) -> DataError:
    """Return the error of a mask that is not as large as its image; sizes are (height, width, ...)."""
    sizes = "{1}x{0}, its image {3}x{2}".format(*size[:2], *image_size[:2])
    return DataError(mask, f"is {sizes}", "use the mask that belongs to the image")
