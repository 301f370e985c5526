"""The two tasks: their classes, colours, and the way from a coloured mask to labels and back."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from common.errors import DataError

IGNORE = 255  # label of unknown and padded pixels: no loss, no score
NO_CLASS = 254  # only inside this module
NEAR = 32  # a colour this near to a corner of the RGB cube means that corner
FAR = 64  # a channel farther than this from 0 and from 255 means neither
FAR_SHARE = 0.2  # compression blurs borders: up to a tenth of a busy mask, measured at JPEG quality 75
FAR_PATCH = 9  # but borders are thin: a square of so many blurred pixels a side is a foreign colour
CHUNK = 1 << 15  # words that stay in a core's cache
INDEX_LIKE = 16  # a mask whose largest value is smaller holds class numbers, not colours


@dataclass(frozen=True)
class Task:
    """One of the paper's two tasks: class k has label k and colour palette[k] (RGB)."""

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    unknown: tuple[int, int, int] | None  # colour of pixels without a class
    resize: tuple[float, float]  # range of the random resize, paper section 3.2

    @cached_property
    def corner_labels(self) -> np.ndarray:
        """Table of 256 labels, uint8: corner 4R + 2G + B of the RGB cube -> label or NO_CLASS."""
        labels = np.full(256, NO_CLASS, np.uint8)
        for label, colour in [(IGNORE, self.unknown), *enumerate(self.palette)]:
            if colour is not None:
                labels[_corner_number(np.array([[colour]], np.uint8))] = label
        return labels


LAND_CLASSES = ("urban", "agriculture", "rangeland", "forest", "water", "barren")
LAND_PALETTE = ((0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255), (255, 255, 255))
ROAD_CLASSES = ("background", "road")
ROAD_PALETTE = ((0, 0, 0), (255, 255, 255))

TASKS = {
    "land": Task("land", LAND_CLASSES, LAND_PALETTE, unknown=(0, 0, 0), resize=(0.8, 1.25)),
    "road": Task("road", ROAD_CLASSES, ROAD_PALETTE, unknown=None, resize=(0.5, 1.5)),
}


def labels_from_mask(mask: np.ndarray, task: Task, where: object = "mask") -> np.ndarray:
    """Turn a mask's colours into labels.

    `mask` is uint8, (H, W, 3) in RGB or (H, W) in grey; the result is uint8 (H, W): classes 0, 1, ...
    and IGNORE. Each channel is thresholded at 128. Blurred pixels, with a channel farther than 64 from both
    0 and 255, are tolerated along borders: up to 20 % of the mask, in no patch of 9x9. A blurred pixel
    that falls to no class becomes IGNORE. Raises DataError, naming `where` and the colour, for more of
    them, and for any pixel within 32 of a colour that thresholding gives but no class has, as pure red.
    """
    if mask.ndim == 2:
        mask = np.repeat(mask[..., None], 3, axis=2)
    _refuse_class_numbers(mask, task, where)
    labels = cv2.LUT(_corner_number(mask), task.corner_labels)
    classless = labels == NO_CLASS
    if _is_pure(mask):
        _refuse_colours(mask, classless, task, where)
        return labels
    distance = _corner_distance(mask)
    _refuse_colours(mask, classless & (distance <= NEAR), task, where)
    far = distance > FAR
    patch = np.ones((FAR_PATCH, FAR_PATCH), np.uint8)
    if np.count_nonzero(far) > FAR_SHARE * far.size:
        _refuse_colours(mask, far, task, where)
    _refuse_colours(mask, cv2.erode(far.view(np.uint8), patch) > 0, task, where)
    labels[classless] = IGNORE
    return labels


def colours_from_labels(labels: np.ndarray, task: Task) -> np.ndarray:
    """Turn labels (uint8, (H, W)) into DeepGlobe's colours (uint8, (H, W, 3), RGB); IGNORE becomes black.

    Raises DataError for a label that is neither a class nor IGNORE.
    """
    check_labels(labels, task, "labels")
    table = np.zeros((256, 3), np.uint8)
    table[: len(task.palette)] = task.palette
    return table[labels]


def check_labels(labels: np.ndarray, task: Task, where: object) -> np.ndarray:
    """Count the pixels of each label: int64, one entry per class and a last one for IGNORE.

    Raises DataError for any other label: Caffe's SoftmaxWithLoss reads outside its memory there.
    """
    known = (*range(len(task.classes)), IGNORE)
    counts = [np.count_nonzero(labels == label) for label in known]
    if sum(counts) != labels.size:
        value = int(np.setdiff1d(labels, known)[0])
        raise DataError(where, f"label {value} is no class of {task.name}", "make the labels again")
    return np.array(counts, np.int64)


def _corner_number(colours: np.ndarray) -> np.ndarray:
    """Return 4R + 2G + B, uint8 (H, W), of colours (H, W, 3) cut at 128.

    So DeepGlobe advises, since compression shifts values.
    """
    red, green, blue = cv2.split(colours)  # the highest bit says whether a value is 128 or more
    red >>= 5
    red &= 4
    green >>= 6
    green &= 2
    blue >>= 7
    red |= green
    red |= blue
    return red


def _is_pure(mask: np.ndarray) -> bool:
    """Tell whether every value is 0 or 255, as in DeepGlobe's PNGs; eight values at a time."""
    flat = np.ascontiguousarray(mask).ravel()
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    for begin in range(0, words.size, CHUNK):
        some = words[begin : begin + CHUNK]
        low = some & np.uint64(0x0101010101010101)
        low *= np.uint64(255)
        if not np.array_equal(low, some):
            return False
    return bool(np.isin(flat[words.size * 8 :], (0, 255)).all())


def _corner_distance(mask: np.ndarray) -> np.ndarray:
    """Return how far, in the worst channel, each colour is from its corner of the RGB cube: 0..127."""
    value = np.arange(256)
    table = np.minimum(value, 255 - value).astype(np.uint8)
    red, green, blue = cv2.split(cv2.LUT(mask, table))
    return cv2.max(cv2.max(red, green), blue)


def _refuse_class_numbers(mask: np.ndarray, task: Task, where: object) -> None:
    """Raise DataError for a mask of class numbers: thresholded it would be black without a word."""
    largest = int(mask.max(initial=0))
    if 0 < largest < INDEX_LIKE:
        raise DataError(
            where, f"largest value is {largest}, as in class numbers", f"paint it in the {task.name} colours"
        )


def _refuse_colours(mask: np.ndarray, here: np.ndarray, task: Task, where: object) -> None:
    """Raise DataError, naming the commonest colour, if any pixel is marked in `here`."""
    if here.any():
        colours, counts = np.unique(mask[here], axis=0, return_counts=True)
        colour = tuple(int(value) for value in colours[counts.argmax()])
        fact = f"RGB {colour} is no {task.name} colour ({here.sum()} pixels like it)"
        raise DataError(where, fact, "use DeepGlobe's palette, saved as PNG")
