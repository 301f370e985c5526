"""Probabilities that mean what they say: how far they are from it, and the one temperature that helps.

Temperature scaling and the expected calibration error are those of Guo et al. (2017), "On Calibration of
Modern Neural Networks", ICML. The probabilities are those that predict.py averages over tiles, scales and
flips; the temperature is applied to that average, so the likeliest class stays the likeliest.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from common.datasets import IGNORE, Dataset
from common.errors import DataError
from common.files import file_checksum
from data_prep.geotiff import SETTINGS
from data_prep.label_files import open_truth
from data_prep.read_options import ReadOptions
from data_prep.scene_image import open_image
from data_prep.scenes import Scene
from inference.predictor import Predictor, tempered
from inference.scene_files import ScenePath, find_true_masks
from prototxt_gen.model_card import IMAGE_DIGITS

BINS = 15  # of confidence, equally wide, as the paper has them
MAX_VALUES = 1 << 23  # probabilities that are kept: of six classes, 1.4 million pixels
# 1 / T from 1/20 to 20: beyond, a net says nothing, or only ever one thing.
INVERSES = np.geomspace(0.05, 20, 121)
LEAST = np.float32(1e-30)  # of a probability, for its logarithm
MIN_SCENES = 2  # each is judged by a temperature of the others


@dataclass(frozen=True)
class Reliability:
    """In each of BINS bins of confidence: pixels, their mean confidence, and how many of them are right.

    The last two are shares from 0 to 1, NaN in an empty bin.
    """

    pixels: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def of(cls, confidence: np.ndarray, right: np.ndarray) -> "Reliability":
        """Return the reliability of pixels by their confidence (N,) and whether they are right (N,) bool."""
        bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)  # (low, high]
        pixels = np.bincount(bins, minlength=BINS)
        sums = (np.bincount(bins, values, minlength=BINS) for values in (confidence, right))
        means = (np.divide(s, pixels, out=np.full(BINS, np.nan), where=pixels > 0) for s in sums)
        return cls(pixels, *means)

    @property
    def ece(self) -> float:
        """The expected calibration error: the mean distance of confidence and accuracy over all pixels."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(gaps * self.pixels) / self.pixels.sum())


@dataclass(frozen=True)
class SceneSample:
    """Pixels of a scene that have a true class: probabilities (C, N) float32, and labels (N,)."""

    id: str
    probabilities: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class FittedTemperature:
    """A temperature, and the reliability of each scene's pixels without and with one of the other scenes."""

    temperature: float
    before: Reliability
    after: Reliability


def unseen_scenes(
    images: Sequence[ScenePath], truth: Path, dataset: Dataset, seen: Collection[str]
) -> list[Scene]:
    """Return images with their true masks; DataError for one that has none, or that trained the weights.

    `seen` are the images that trained, see ModelCard.has_seen.
    """
    masks = find_true_masks(truth, dataset)
    for image in images:
        if image.id not in masks:
            fact = f"lacks the true mask of scene {image.id}"
            raise DataError(truth, fact, "add it, or leave the scene out")
        if seen and file_checksum(image.path)[:IMAGE_DIGITS] in seen:
            fact = "has trained these weights, which are too sure of what they have seen"
            raise DataError(image.path, fact, "calibrate with other scenes, as those of --hold-out")
    return [Scene(image.id, image.path, masks[image.id]) for image in images]


def sample_scenes(
    predictor: Predictor,
    scenes: Sequence[Scene],
    dataset: Dataset,
    read_options: ReadOptions,
    progress: Callable[[Iterable[Scene]], Iterable[Scene]] = iter,
) -> list[SceneSample]:
    """Predict the images of `scenes`, and keep pixels with a true class, evenly at random.

    All are kept where MAX_VALUES probabilities hold them. The same scenes give the same pixels. Raises
    DataError for an image or a truth that cannot be used, and for those of different sizes.
    """
    most = MAX_VALUES // len(dataset.classes) // len(scenes)
    return [
        _sample(predictor, scene, dataset, read_options, np.random.default_rng(number), most)
        for number, scene in enumerate(progress(scenes))
    ]


def _sample(
    predictor: Predictor,
    scene: Scene,
    dataset: Dataset,
    read_options: ReadOptions,
    random: np.random.Generator,
    most: int,
) -> SceneSample:
    parts, labels = [], []
    with (
        rasterio.Env(**SETTINGS),
        open_image(scene.image, read_options) as image,
        open_truth(scene.mask, dataset) as truth,
    ):
        if truth.shape != image.shape[:2]:
            sizes = "{1}x{0}, its image {3}x{2}".format(*truth.shape, *image.shape)
            raise DataError(scene.mask, f"is {sizes}", "give the truth that belongs to the image")
        share = most / (truth.shape[0] * truth.shape[1])
        for top, strip in predictor.strips(image):
            rows = slice(top, top + strip.shape[1])
            true = truth.read(rows, slice(0, truth.shape[1]), image.valid(rows))
            kept = true != IGNORE
            if share < 1:
                kept &= random.random(true.shape) < share
            parts.append(strip[:, kept])
            labels.append(true[kept])
    return SceneSample(scene.id, np.concatenate(parts, axis=1), np.concatenate(labels))


def calibrate(samples: Sequence[SceneSample]) -> FittedTemperature:
    """Fit one temperature to all scenes, and judge it: each scene by a temperature of the others.

    Raises DataError for fewer than MIN_SCENES scenes with a true class.
    """
    samples = [sample for sample in samples if sample.labels.size]
    if len(samples) < MIN_SCENES:
        remedy = f"give {MIN_SCENES} or more: each is judged by the others"
        raise DataError("calibration scenes", f"are {len(samples)} with a true class", remedy)
    slopes = np.array([likelihood_slopes(sample) for sample in samples])
    others = [best_temperature(slopes.sum(axis=0) - its) for its in slopes]
    after = [tempered(s.probabilities, hot).max(axis=0) for s, hot in zip(samples, others, strict=True)]
    before = [sample.probabilities.max(axis=0) for sample in samples]
    right = np.concatenate([s.probabilities.argmax(axis=0) == s.labels for s in samples])
    return FittedTemperature(
        best_temperature(slopes.sum(axis=0)),
        Reliability.of(np.concatenate(before), right),
        Reliability.of(np.concatenate(after), right),
    )


def likelihood_slopes(sample: SceneSample) -> np.ndarray:
    """Return the slope of a scene's negative log-likelihood in 1 / T, at each of INVERSES."""
    logits = np.log(np.maximum(sample.probabilities, LEAST))
    logits -= logits.max(axis=0)
    true = logits[sample.labels, np.arange(logits.shape[1])].sum(dtype=np.float64)
    slopes = np.empty(len(INVERSES))
    for at, inverse in enumerate(INVERSES.astype(np.float32)):
        powers = np.exp(logits * inverse)
        expected = (powers * logits).sum(axis=0) / powers.sum(axis=0)
        slopes[at] = expected.sum(dtype=np.float64) - true
    return slopes


def best_temperature(slopes: np.ndarray) -> float:
    """Return the temperature of the greatest likelihood, of which INVERSES have these `slopes`.

    The negative log-likelihood is convex in 1 / T: its slope rises, and is 0 there.
    """
    return float(np.exp(-np.interp(0, slopes, np.log(INVERSES))))
