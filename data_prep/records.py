"""One record: a randomly resized crop of a scene, its bands and then its labels as channels of one array.

Caffe's Data layer takes its own random crop from a record and mirrors it (crop_size, mirror). A record
has some margin for that, and carries the label as its last channel so that image and label move together.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from common.datasets import IGNORE, Dataset
from common.errors import DataError
from common.numbers import check_number
from prototxt_gen.experiment import Experiment

ENCODINGS = ("raw", "png")
CANDIDATES = 8  # places that a class-aware choice looks at
CHANNELS_AT_ONCE = 4  # OpenCV shrinks no more by areas
MAX_MARGIN, MAX_VARIANTS, MAX_JITTER = 8192, 1_000_000, 0.9
COARSE = 64  # it counts that many pixels of that many rows


class CropSource(Protocol):
    """A scene to cut from, of C bands."""

    shape: tuple[int, int]

    def read_image(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the image, uint8 (h, w, C)."""

    def read_labels(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the labels, uint8 (h, w)."""


@dataclass(frozen=True)
class RecordConfig:
    """What, beside the scene, a record depends on. Raises DataError for values that make no record."""

    dataset: Dataset
    bands: tuple[str, ...]  # channels before the label
    mean: tuple[float, ...]  # of each band: padding is zero once the net subtracts it
    crop: int  # the net's input, 32k + 1
    margin: int  # record side = crop + margin, pixels
    variants: int  # records per scene
    seed: int
    encode: str = "raw"  # how the Datum holds the pixels
    rotate: bool = False  # by a random multiple of 90 degrees
    jitter: float = 0.0  # up to which brightness, of each band, and contrast change: 0.2 is 0.8 to 1.2 times
    class_aware: bool = False  # of some places, take the one with most pixels of a class drawn at random

    @classmethod
    def of(
        cls, experiment: Experiment, task: str, margin: int, variants: int, seed: int, **more
    ) -> "RecordConfig":
        """Return the config of the records that a task of an experiment is trained on."""
        net_input, dataset = experiment.input, experiment.tasks[task].dataset
        return cls(dataset, net_input.bands, net_input.mean, net_input.crop, margin, variants, seed, **more)

    def __post_init__(self) -> None:
        """Check the values, as options of the command line."""
        check_number("--margin", self.margin, 0, MAX_MARGIN)
        check_number("--variants", self.variants, 1, MAX_VARIANTS)
        check_number("--seed", self.seed, 0)
        check_number("--jitter", self.jitter, 0, MAX_JITTER)
        if self.encode not in ENCODINGS:
            raise DataError("--encode", f"is {self.encode!r}", f"give one of {', '.join(ENCODINGS)}")
        if self.encode == "png" and len(self.bands) != 3:
            raise DataError(
                "--encode", f"is png for {len(self.bands)} bands", "give raw: PNG holds three and the label"
            )

    @property
    def channels(self) -> int:
        """Channels of a record: the bands and the label."""
        return len(self.bands) + 1

    @property
    def side(self) -> int:
        """Height and width of a record in pixels."""
        return self.crop + self.margin


def record_rng(seed: int, scene_id: str, variant: int) -> np.random.Generator:
    """Return the generator of one record: a function of its three arguments and of nothing else."""
    digest = hashlib.sha256(scene_id.encode()).digest()
    words = np.frombuffer(digest, "<u4").tolist()
    return np.random.default_rng([seed, variant, *words])


def make_record(pixels: CropSource, scene_id: str, variant: int, config: RecordConfig) -> np.ndarray:
    """Cut one record: uint8 (channels, side, side), the bands and the label.

    The scale is uniform in the data set's range (paper section 3.2), the place uniform over all that fit.
    A scene smaller than the window is padded: mean colour in the image, IGNORE in the label.
    """
    rng = record_rng(config.seed, scene_id, variant)
    # Cutting before resizing touches only the pixels that are needed: a quarter of a large scene.
    window = max(1, round(config.side / rng.uniform(*config.dataset.resize)))
    rows, columns = _choose(rng, pixels, window, config)
    turns = rng.integers(4) if config.rotate else 0
    record = np.empty((config.channels, config.side, config.side), np.uint8)
    size = (columns.target.stop - columns.target.start, rows.target.stop - rows.target.start)
    if size != (config.side, config.side):
        record[:-1] = np.rint(config.mean).astype(np.uint8)[:, None, None]
        record[-1] = IGNORE
    filter_ = cv2.INTER_AREA if window > config.side else cv2.INTER_LINEAR
    image = pixels.read_image(rows.source, columns.source)
    if config.jitter:
        image = _jitter(rng, image, config)
    for first in range(0, image.shape[2], CHANNELS_AT_ONCE):
        part = cv2.resize(image[..., first : first + CHANNELS_AT_ONCE], size, interpolation=filter_)
        planes = record[:-1][first : first + CHANNELS_AT_ONCE]
        cv2.split(part, [plane[rows.target, columns.target] for plane in planes])
    # NEAREST_EXACT samples at pixel centres as AREA and LINEAR do; NEAREST would shift the labels.
    record[-1, rows.target, columns.target] = cv2.resize(
        pixels.read_labels(rows.source, columns.source), size, interpolation=cv2.INTER_NEAREST_EXACT
    )
    return np.ascontiguousarray(np.rot90(record, turns, axes=(1, 2)))


def _jitter(rng: np.random.Generator, image: np.ndarray, config: RecordConfig) -> np.ndarray:
    """Return an image with another brightness of each band, and contrast of all about the net's mean."""
    low, high = 1 - config.jitter, 1 + config.jitter
    brightness, contrast = rng.uniform(low, high, len(config.bands)), rng.uniform(low, high)
    values, mean = np.arange(256)[:, None], np.array(config.mean)
    tables = np.clip(np.rint((values * brightness - mean) * contrast + mean), 0, 255).astype(np.uint8)
    return np.dstack([tables[image[..., band], band] for band in range(len(config.bands))])


def _choose(
    rng: np.random.Generator, pixels: CropSource, window: int, config: RecordConfig
) -> tuple["_Span", "_Span"]:
    """Draw the place of a window of `window` pixels: spans of rows and of columns."""
    places = [
        tuple(_place(rng, length, window, config.side) for length in pixels.shape)
        for _ in range(CANDIDATES if config.class_aware else 1)
    ]
    if not config.class_aware:
        return places[0]
    label = rng.integers(len(config.dataset.classes))
    step = max(1, window // COARSE)
    coarse = [pixels.read_labels(rows.source, columns.source)[::step, ::step] for rows, columns in places]
    return places[int(np.argmax([np.count_nonzero(labels == label) for labels in coarse]))]


@dataclass(frozen=True)
class _Span:
    """Where a window's pixels lie along one axis, in the scene and in the record."""

    source: slice
    target: slice


def _place(rng: np.random.Generator, length: int, window: int, side: int) -> _Span:
    """Draw a window's start on an axis of `length` pixels, inside the scene, or around a smaller scene."""
    spare = length - window
    start = int(rng.integers(min(spare, 0), max(spare, 0) + 1))
    first, last = max(start, 0), min(start + window, length)
    target = slice(round((first - start) * side / window), round((last - start) * side / window))
    if target.start == target.stop:  # a scene thinner than half a record pixel still gets one
        target = slice(min(target.start, side - 1), min(target.start, side - 1) + 1)
    return _Span(slice(first, last), target)
