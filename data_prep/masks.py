"""The way from masks to labels and back: colours, also as compression leaves them, or numbers.

Labels are uint8 (H, W): classes 0, 1, ... in the order of the data set, and IGNORE.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np

from common.datasets import IGNORE, Colour, Dataset
from common.errors import DataError
from common.numbers import plural

NO_CLASS = 254  # only inside this module
FOREIGN = 223  # so far from every colour no compression leads
BLURRED_SHARE = 0.2  # compression blurs borders: up to a tenth of a busy mask, measured at JPEG quality 75
BLURRED_PATCH = 9  # but borders are thin: a square of so many blurred pixels a side is a foreign colour
SURE = 4  # a colour within this part of the tolerance is its class's without doubt
INDEX_LIKE = 16  # a mask whose largest value is smaller holds class numbers, not colours
ROWS = 32  # of a mask, whose codes stay in cache: a third of the time
TABLE_BITS = 16  # of integers for which a table of all is quicker than a search for each

Coloured = tuple[tuple[Colour, int], ...]  # colours with their labels


def labels_from_colours(
    mask: np.ndarray, dataset: Dataset, where: object = "mask", is_map: bool = False
) -> np.ndarray:
    """Turn the colours of a mask, uint8 (H, W, 3) in RGB, into labels.

    A mask of exact colours may have no other. One with colours that are nearly exact has been compressed or
    resized: there a pixel within the data set's tolerance of a colour means it, and what is left along
    borders is ignored: up to 20 % of the mask, in no patch of 9x9. Mixtures of other classes that come near
    to a colour are ignored too: pixels alone, and those at a border of two classes whose mixture it may be.
    A map may also have the colours that it shows of classes without one, and of no data. Raises DataError,
    naming `where` and the colour, for others, and for a mask in grey where classes have colours.
    """
    coloured = _coloured(dataset, is_map)
    labels = _exact_labels(mask, coloured)
    inexact = labels == NO_CLASS
    if not inexact.any():
        return labels
    _refuse_class_numbers(mask, dataset, where)
    _refuse_grey(mask, dataset, where)
    pixels = mask[inexact]
    nearest, distance = _nearest(pixels, coloured)
    far = distance > dataset.tolerance
    if far.all():
        _refuse_colours(pixels, far, dataset, where)
    _refuse_colours(pixels, distance > FOREIGN, dataset, where)
    if np.count_nonzero(far) > BLURRED_SHARE * labels.size:
        _refuse_colours(pixels, far, dataset, where)
    blurred = np.zeros(labels.shape, np.uint8)
    blurred[inexact] = far
    patch = np.ones((BLURRED_PATCH, BLURRED_PATCH), np.uint8)
    _refuse_colours(mask, cv2.erode(blurred, patch) > 0, dataset, where)
    labels[inexact] = np.where(far, IGNORE, nearest)
    if len(coloured) > 2:
        sure = ~inexact
        sure[inexact] = distance <= dataset.tolerance // SURE
        _ignore_unsure(labels, sure)
        _ignore_mixtures(labels, coloured, dataset.tolerance)
    return labels


def labels_from_exact_colours(mask: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Return the labels of a mask that has the data set's colours alone, uint8 (H, W); None for others."""
    labels = _exact_labels(mask, _coloured(dataset, False))
    return None if (labels == NO_CLASS).any() else labels


def labels_from_raster_colours(
    mask: np.ndarray, dataset: Dataset, where: object, nodata: np.ndarray
) -> np.ndarray:
    """Return the labels of a window of a raster of colours, uint8 (H, W): IGNORE where `nodata`, bool (H, W).

    Raises DataError for a colour that is not exactly one of the data set's: what compression or resizing has
    left of a mask cannot be judged by a window of it.
    """
    labels = _exact_labels(mask, _coloured(dataset, False))
    labels[nodata] = IGNORE
    _refuse_colours(mask, labels == NO_CLASS, dataset, where)
    return labels


def _exact_labels(mask: np.ndarray, coloured: Coloured) -> np.ndarray:
    labels, table = np.empty(mask.shape[:2], np.uint8), _exact(coloured)
    for top in range(0, len(mask), ROWS):
        # R + 256 G + 65536 B, from four bytes a pixel.
        codes = cv2.cvtColor(mask[top : top + ROWS], cv2.COLOR_RGB2RGBA).view("<u4")[..., 0]
        codes = codes.astype(np.intp) & 0xFFFFFF
        np.take(table, codes, out=labels[top : top + ROWS], mode="clip")  # "raise" would copy
    return labels


def labels_from_numbers(
    values: np.ndarray,
    labels_of: Mapping[int, int],
    where: object,
    remedy: str,
    nodata: np.ndarray | None = None,
) -> np.ndarray:
    """Turn integers (H, W) into labels by the table `labels_of`; IGNORE where `nodata`, bool (H, W), is true.

    Raises DataError, naming `where`, for a number that the table lacks; `remedy` has a place {value} for it.
    """
    numbers = np.array(sorted(labels_of), np.int64)
    labels_by_number = np.array([labels_of[number] for number in numbers.tolist()], np.uint8)

    def look_up(queried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.searchsorted(numbers, queried).clip(max=len(numbers) - 1)
        return labels_by_number[at], numbers[at] == queried

    limits = np.iinfo(values.dtype)
    if limits.bits <= TABLE_BITS:
        labels, known = look_up(np.arange(limits.min, limits.max + 1))
        at = values if limits.min == 0 else values.astype(np.int32) - limits.min
        labels, known = labels[at], known[at]
    else:
        labels, known = look_up(values.astype(np.int64, casting="safe"))
    if nodata is not None:
        labels[nodata], known[nodata] = IGNORE, True
    if not known.all():
        value = int(values[~known][0])
        fact = f"holds {value} ({plural(np.count_nonzero(~known), 'pixel')} of no known number)"
        raise DataError(where, fact, remedy.format(value=value))
    return labels


def colours_from_labels(labels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Turn labels into the colours of the data set's palette, uint8 (H, W, 3) in RGB.

    Raises DataError for a label that is neither a class nor IGNORE.
    """
    check_labels(labels, dataset, "labels")
    table = np.zeros((256, 3), np.uint8)
    table[: len(dataset.palette)] = dataset.palette
    table[IGNORE] = dataset.ignored_colour
    return table[labels]


def check_labels(labels: np.ndarray, dataset: Dataset, where: object) -> np.ndarray:
    """Count the pixels of each label: int64, one entry per class and a last one for IGNORE.

    Raises DataError for any other label: Caffe's SoftmaxWithLoss reads outside its memory there.
    """
    counts = _count(labels)
    known = counts[[*range(len(dataset.classes)), IGNORE]]
    if known.sum() != labels.size:
        strange = counts.copy()
        strange[: len(dataset.classes)] = strange[IGNORE] = 0
        value = int(strange.argmax())
        raise DataError(where, f"label {value} is not a class of {dataset.name}", "make the labels again")
    return known


def _count(labels: np.ndarray) -> np.ndarray:
    """Return how many pixels have each value: int64 (256,), of uint8."""
    if labels.dtype == np.uint8 and 0 < labels.size < 1 << 24:  # OpenCV's counts are exact so far
        return cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return np.bincount(labels.ravel(), minlength=256)


def _coloured(dataset: Dataset, is_map: bool) -> Coloured:
    """Return the colours that mean something in a mask or a map of the data set, with their labels."""
    shown = zip(dataset.classes, dataset.palette, strict=True)
    classes = {
        colour: label for label, (entry, colour) in enumerate(shown) if is_map or entry.colour is not None
    }
    ignored = (*dataset.ignore.colours, *([dataset.ignored_colour] if is_map else []))
    return tuple((classes | {colour: IGNORE for colour in ignored if colour not in classes}).items())


@lru_cache(maxsize=4)
def _exact(coloured: Coloured) -> np.ndarray:
    """Return the label of each R + 256 G + 65536 B, or NO_CLASS: uint8 (2^24,)."""
    table = np.full(1 << 24, NO_CLASS, np.uint8)
    for (red, green, blue), label in coloured:
        table[red + (green << 8) + (blue << 16)] = label
    return table


def _nearest(pixels: np.ndarray, coloured: Coloured) -> tuple[np.ndarray, np.ndarray]:
    """Return for pixels (n, 3) the label of the nearest colour and its distance in the worst channel."""
    labels, distances = np.full(len(pixels), IGNORE, np.uint8), np.full(len(pixels), 255, np.uint8)
    for colour, label in coloured:
        values = np.array(colour, np.uint8)
        distance = (np.maximum(pixels, values) - np.minimum(pixels, values)).max(axis=1)
        nearer = distance < distances
        labels[nearer], distances[nearer] = label, distance[nearer]
    return labels, distances


def _ignore_unsure(labels: np.ndarray, sure: np.ndarray) -> None:
    """Ignore pixels that are only near to their class's colour, and not beside a pixel that is surely of it.

    Sure is also the middle of 3x3 pixels of one class: mixtures along a border are thinner.
    """
    patch = np.ones((3, 3), np.uint8)
    for label in np.unique(labels[~sure]).tolist():
        values = (labels == label).view(np.uint8)
        adjacent = cv2.dilate((values & sure) | cv2.erode(values, patch), patch)
        labels[values > adjacent] = IGNORE


def _ignore_mixtures(labels: np.ndarray, coloured: Coloured, tolerance: int) -> None:
    """Ignore the pixels of a class whose colour is a mixture of two others, where both are near."""
    present = np.unique(labels).tolist()
    coloured = tuple((colour, label) for colour, label in coloured if label in present)
    patch = np.ones((BLURRED_PATCH, BLURRED_PATCH), np.uint8)
    near = {label: cv2.dilate((labels == label).view(np.uint8), patch).ravel() for label in present}
    meet = sum(map(np.uint16, near.values())) > 2  # a class is near to itself
    pixels = {label: np.flatnonzero(meet & (labels.ravel() == label)) for label in present}
    mixtures = _mixtures(tuple(colour for colour, _ in coloured), tolerance)
    for label, first, second in np.array([label for _, label in coloured])[mixtures].tolist():
        at = pixels[label]
        if at.size and len({label, first, second}) == 3:
            labels.flat[at[(near[first][at] & near[second][at]) > 0]] = IGNORE


@lru_cache(maxsize=4)
def _mixtures(colours: tuple[Colour, ...], tolerance: int) -> np.ndarray:
    """Return the (colour, first, second), by place, int (n, 3), where a mixture of two is as near as that.

    The mixtures are (k first + (255 - k) second) / 255 for whole k from 0 to 255. In each channel those that
    are near enough are the k between two bounds.
    """
    values = np.array(colours, np.int64)
    room = 255 * (tolerance + 1)  # 1: rounding
    triples = [np.empty((0, 3), np.int64)]
    for number, colour in enumerate(values):
        step = values[:, None] - values  # (first, second, channel), as `middle`: |k step - middle| <= room
        middle = np.broadcast_to(255 * (colour - values), step.shape)
        middle, step = np.where(step < 0, -middle, middle), np.abs(step)
        flat, step = step == 0, step.clip(min=1)
        lower = np.where(flat, np.where(np.abs(middle) <= room, 0, 256), -((room - middle) // step))
        upper = np.where(flat, 255, (middle + room) // step)
        mixed = lower.max(axis=2).clip(min=0) <= upper.min(axis=2).clip(max=255)
        mixed[number] = mixed[:, number] = False
        triples.append(np.insert(np.argwhere(np.triu(mixed, 1)), 0, number, axis=1))
    return np.concatenate(triples)


def _refuse_class_numbers(mask: np.ndarray, dataset: Dataset, where: object) -> None:
    """Raise DataError for a mask of class numbers: its colours would all be near to black."""
    largest = int(mask.max(initial=0))
    if 0 < largest < INDEX_LIKE and (mask == mask[..., :1]).all():
        remedy = f"give the classes of {dataset.name} their values, or paint the mask in its colours"
        raise DataError(where, f"largest value is {largest}, as in class numbers", remedy)


def _refuse_grey(mask: np.ndarray, dataset: Dataset, where: object) -> None:
    """Raise DataError for a mask saved in grey: yellow is a light grey then, near to white."""
    colours = [entry.colour for entry in dataset.classes if entry.colour is not None]
    if (mask == mask[..., :1]).all() and any(len(set(colour)) > 1 for colour in colours):
        fact = f"is grey, and classes of {dataset.name} have colours"
        raise DataError(where, fact, "save it as PNG in its colours")


def _refuse_colours(pixels: np.ndarray, marked: np.ndarray, dataset: Dataset, where: object) -> None:
    """Raise DataError, naming the commonest colour, if any pixel is marked in `marked`."""
    if marked.any():
        colours, counts = np.unique(pixels[marked], axis=0, return_counts=True)
        colour = tuple(int(value) for value in colours[counts.argmax()])
        count = plural(np.count_nonzero(marked), "pixel")
        fact = f"RGB {colour} is not a colour of {dataset.name} ({count} like it)"
        raise DataError(where, fact, "add it to the data set's file, or save the mask as PNG in its colours")


def class_list(names: Sequence[str]) -> str:
    """Return what a raster's tag says of its numbers: `0 urban, 1 agriculture, ...`."""
    return ", ".join(f"{label} {name}" for label, name in enumerate(names))
