"""The way from masks to labels and back: colours, also as compression leaves them, or numbers.

Labels are uint8 (H, W): classes 0, 1, ... in the order of the data set, and IGNORE.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np

from common.datasets import IGNORE, Colour, Dataset
from common.errors import DataError

NO_CLASS = 254  # only inside this module
FOREIGN = 223  # so far from every colour no compression leads
BLURRED_SHARE = 0.2  # compression blurs borders: up to a tenth of a busy mask, measured at JPEG quality 75
BLURRED_PATCH = 9  # but borders are thin: a square of so many blurred pixels a side is a foreign colour
INDEX_LIKE = 16  # a mask whose largest value is smaller holds class numbers, not colours
TABLE_BITS = 16  # of integers for which a table of all is quicker than a search for each

Coloured = tuple[tuple[Colour, int], ...]  # colours with their labels


def labels_from_colours(
    mask: np.ndarray, dataset: Dataset, where: object = "mask", is_map: bool = False
) -> np.ndarray:
    """Turn the colours of a mask, uint8 (H, W, 3) in RGB, into labels.

    A mask of exact colours may have no other. One with colours that are nearly exact has been compressed or
    resized: there a pixel within the data set's tolerance of a colour means it, and what is left along
    borders is ignored: up to 20 % of the mask, in no patch of 9x9. Where a class's colour is a mixture of
    two others, its pixels at a border of these are ignored too. A map may also have the colours that it
    shows of classes without one, and of no data. Raises DataError, naming `where` and the colour, for others.
    """
    coloured = _coloured(dataset, is_map)
    # R + 256 G + 65536 B, from four bytes a pixel.
    codes = cv2.cvtColor(mask, cv2.COLOR_RGB2RGBA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    labels = _exact(coloured)[codes]
    inexact = labels == NO_CLASS
    if not inexact.any():
        return labels
    _refuse_class_numbers(mask, dataset, where)
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
    _ignore_mixtures(labels, coloured, dataset.tolerance)
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

    def look_up(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.searchsorted(numbers, wanted).clip(max=len(numbers) - 1)
        return labels_by_number[at], numbers[at] == wanted

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
        fact = f"holds {value} ({np.count_nonzero(~known)} pixels of no known number)"
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
    counts = np.bincount(labels.ravel(), minlength=256)
    known = counts[[*range(len(dataset.classes)), IGNORE]]
    if known.sum() != labels.size:
        strange = counts.copy()
        strange[: len(dataset.classes)] = strange[IGNORE] = 0
        value = int(strange.argmax())
        raise DataError(where, f"label {value} is not a class of {dataset.name}", "make the labels again")
    return known


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
    labels, least = np.full(len(pixels), IGNORE, np.uint8), np.full(len(pixels), 255, np.uint8)
    for colour, label in coloured:
        values = np.array(colour, np.uint8)
        distance = (np.maximum(pixels, values) - np.minimum(pixels, values)).max(axis=1)
        nearer = distance < least
        labels[nearer], least[nearer] = label, distance[nearer]
    return labels, least


def _ignore_mixtures(labels: np.ndarray, coloured: Coloured, tolerance: int) -> None:
    """Ignore the pixels of a class whose colour is a mixture of two others, where both are near."""
    present = set(np.unique(labels).tolist())
    coloured = tuple((colour, label) for colour, label in coloured if label in present)
    patch = np.ones((BLURRED_PATCH, BLURRED_PATCH), np.uint8)
    near = {label: cv2.dilate((labels == label).view(np.uint8), patch) > 0 for label in present}
    for colour, label in coloured:
        others = [entry for entry in coloured if entry[1] != label]
        for at, (first, first_label) in enumerate(others):
            for second, second_label in others[at + 1 :]:
                if first_label != second_label and _is_mixture(colour, first, second, tolerance):
                    labels[(labels == label) & near[first_label] & near[second_label]] = IGNORE


def _is_mixture(colour: Colour, first: Colour, second: Colour, tolerance: int) -> bool:
    """Return whether a mixture of two colours comes as near to a third as the tolerance."""
    share = np.linspace(0, 1, 256)[:, None]
    mixtures = np.array(first) * share + np.array(second) * (1 - share)
    return bool((np.abs(mixtures - colour).max(axis=1) <= tolerance).any())


def _refuse_class_numbers(mask: np.ndarray, dataset: Dataset, where: object) -> None:
    """Raise DataError for a mask of class numbers: its colours would all be near to black."""
    largest = int(mask.max(initial=0))
    if 0 < largest < INDEX_LIKE and (mask == mask[..., :1]).all():
        remedy = f"give the classes of {dataset.name} their values, or paint the mask in its colours"
        raise DataError(where, f"largest value is {largest}, as in class numbers", remedy)


def _refuse_colours(pixels: np.ndarray, here: np.ndarray, dataset: Dataset, where: object) -> None:
    """Raise DataError, naming the commonest colour, if any pixel is marked in `here`."""
    if here.any():
        colours, counts = np.unique(pixels[here], axis=0, return_counts=True)
        colour = tuple(int(value) for value in colours[counts.argmax()])
        fact = f"RGB {colour} is not a colour of {dataset.name} ({np.count_nonzero(here)} pixels like it)"
        raise DataError(where, fact, "add it to the data set's file, or save the mask as PNG in its colours")


def class_list(names: Sequence[str]) -> str:
    """Return what a raster's tag says of its numbers: `0 urban, 1 agriculture, ...`."""
    return ", ".join(f"{label} {name}" for label, name in enumerate(names))
