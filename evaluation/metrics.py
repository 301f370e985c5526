"""Scores of maps against their truth, all from one confusion matrix over all pixels of all scenes."""

from dataclasses import dataclass

import numpy as np

from common.errors import DataError


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts of pixels, (classes, classes + 1) int64: row = true class, column = predicted one.

    `truth` and `predicted` are integer labels of one shape. A pixel whose true label is no class
    (unknown, 255) is not scored. A scored pixel whose predicted label is no class is counted in the
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
class Scores:
    """Scores of a confusion matrix; shares from 0 to 1, NaN where there is nothing to divide by.

    With TP, FP and FN the pixels of a class that are found, claimed wrongly and missed, (classes,):
    `iou` is TP / (TP + FP + FN), NaN for a class that neither truth nor prediction has; `precision`
    TP / (TP + FP), NaN for one never predicted; `recall` TP / (TP + FN), NaN for one without truth;
    `f1` 2 TP / (2 TP + FP + FN). `miou` is the mean of the IoUs that are numbers (the paper's mIOU,
    section 3.3), `accuracy` the share of scored pixels that are right, `frequency_weighted_iou` the
    sum of the IoUs weighted by the classes' shares of the truth (Long et al., FCN, section 5).

    A stack of matrices (..., classes, classes + 1) gives each score its leading axes.
    """

    matrix: np.ndarray
    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    miou: float
    accuracy: float
    frequency_weighted_iou: float

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
        return np.isnan(self.iou)

    @property
    def commonest(self) -> int:
        """Label of the class with most pixels in the truth (the first of equals)."""
        return int(self.matrix.sum(axis=1).argmax())


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)[()]


def scores(matrix: np.ndarray) -> Scores:
    """Return the scores of a (..., classes, classes + 1) matrix from `confusion`, or of a sum of such."""
    square = matrix[..., :-1]
    hits = np.diagonal(square, axis1=-2, axis2=-1).astype(float)
    truth, claimed = matrix.sum(axis=-1), square.sum(axis=-2)
    iou = _ratio(hits, truth + claimed - hits)
    present = ~np.isnan(iou)
    known = np.where(present, iou, 0)
    total = truth.sum(axis=-1)
    return Scores(
        matrix=matrix,
        iou=iou,
        precision=_ratio(hits, claimed),
        recall=_ratio(hits, truth),
        f1=_ratio(2 * hits, truth + claimed),
        miou=_ratio(known.sum(axis=-1), present.sum(axis=-1)),
        accuracy=_ratio(hits.sum(axis=-1), total),
        frequency_weighted_iou=_ratio((known * truth).sum(axis=-1), total),
    )


def constant_scores(measured: Scores) -> Scores:
    """Return what always predicting the truth's commonest class would score on the same pixels."""
    return scores(constant_prediction(measured.matrix, measured.commonest))
