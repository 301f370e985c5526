"""Scores of maps against their truth, all from one confusion matrix over all pixels of all scenes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from common.errors import DataError


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts of pixels, (classes, classes + 1) int64: row = true class, column = predicted one.

    `truth` and `predicted` are integer labels of one shape. A pixel whose true label is not a class
    (unknown, 255) is not scored. A scored pixel whose predicted label is not a class is counted in the
    last column: no answer where one was due is a wrong answer.
    """
    if truth.shape != predicted.shape:
        raise DataError(
            "prediction", f"has shape {predicted.shape}, the truth {truth.shape}", "compare masks of one size"
        )
    scored = (truth >= 0) & (truth < classes)
    rows = truth[scored].astype(np.int64)
    columns = predicted[scored].astype(np.int64)
    columns[(columns < 0) | (columns >= classes)] = classes
    counts = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def constant_prediction(matrix: np.ndarray, label: int) -> np.ndarray:
    """Return the confusion matrix, over the same pixels, of a map that says `label` everywhere."""
    constant = np.zeros_like(matrix)
    constant[:, label] = matrix.sum(axis=1)
    return constant


@dataclass(frozen=True)
class Counts:
    """Pixels of each class, (..., classes): found, in the truth, and claimed by the prediction."""

    hits: np.ndarray
    truth: np.ndarray
    claimed: np.ndarray

    def share(self, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Return part / whole, NaN where there is nothing to divide by."""
        return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)[()]

    @property
    def iou(self) -> np.ndarray:
        """TP / (TP + FP + FN), NaN for a class that neither truth nor prediction has."""
        return self.share(self.hits, self.truth + self.claimed - self.hits)

    def mean_iou(self) -> np.ndarray:
        """Return the mean of the IoUs that are numbers (the paper's mIOU, section 3.3)."""
        present = ~np.isnan(self.iou)
        return self.share(np.where(present, self.iou, 0).sum(axis=-1), present.sum(axis=-1))

    def weighted_iou(self) -> np.ndarray:
        """Return the IoUs weighted by the classes' shares of the truth (Long et al., FCN, section 5)."""
        known = np.where(np.isnan(self.iou), 0, self.iou)
        return self.share((known * self.truth).sum(axis=-1), self.truth.sum(axis=-1))


@dataclass(frozen=True)
class Metric:
    """A score: its key in files, its title, its title in a narrow column, and how it is counted.

    It is a share from 0 to 1, of each class or of all together; NaN where there is nothing to divide by.
    """

    key: str
    title: str
    short: str
    by_class: bool
    count: Callable[[Counts], np.ndarray]


# The first is the one that maps are compared by; text, files, pages and figures follow this table.
METRICS = (
    Metric("miou", "mIoU", "mIoU", False, Counts.mean_iou),
    Metric(
        "accuracy", "pixel accuracy", "accuracy", False, lambda c: c.share(c.hits.sum(-1), c.truth.sum(-1))
    ),
    Metric("frequency_weighted_iou", "frequency-weighted IoU", "fw IoU", False, Counts.weighted_iou),
    Metric("iou", "IoU", "IoU", True, lambda c: c.iou),
    Metric("precision", "precision", "prec.", True, lambda c: c.share(c.hits, c.claimed)),
    Metric("recall", "recall", "rec.", True, lambda c: c.share(c.hits, c.truth)),
    Metric("f1", "F1", "F1", True, lambda c: c.share(2 * c.hits, c.truth + c.claimed)),
)
MAIN = METRICS[0]
OVERALL = tuple(metric for metric in METRICS if not metric.by_class)
BY_CLASS = tuple(metric for metric in METRICS if metric.by_class)


@dataclass(frozen=True)
class Scores:
    """Scores of a confusion matrix: `scores["miou"]`, by the key of a metric.

    A stack of matrices (..., classes, classes + 1) gives each score its leading axes.
    """

    matrix: np.ndarray
    values: Mapping[str, np.ndarray]

    def __getitem__(self, key: str) -> np.ndarray:
        """Return a score; of a metric by class, one for each, (classes,)."""
        return self.values[key]

    @property
    def pixels(self) -> int:
        """Number of scored pixels."""
        return int(self.matrix.sum())

    @property
    def truth_share(self) -> np.ndarray:
        """Share of each class in the scored truth, (classes,)."""
        return self.matrix.sum(axis=1) / max(self.pixels, 1)

    @property
    def absent(self) -> np.ndarray:
        """Classes left out of the mean, (classes,) bool."""
        return np.isnan(self["iou"])

    @property
    def commonest(self) -> int:
        """Label of the class with most pixels in the truth (the first of equals)."""
        return int(self.matrix.sum(axis=1).argmax())


def scores(matrix: np.ndarray) -> Scores:
    """Return the scores of a (..., classes, classes + 1) matrix from `confusion`, or of a sum of such."""
    square = matrix[..., :-1]
    hits = np.diagonal(square, axis1=-2, axis2=-1).astype(float)
    counts = Counts(hits, matrix.sum(axis=-1), square.sum(axis=-2))
    return Scores(matrix, {metric.key: metric.count(counts) for metric in METRICS})


def constant_scores(measured: Scores) -> Scores:
    """Return what always predicting the truth's commonest class would score on the same pixels."""
    return scores(constant_prediction(measured.matrix, measured.commonest))
