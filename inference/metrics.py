"""Scores of a map against its truth, all from one confusion matrix over all pixels of all scenes."""

from dataclasses import dataclass

import numpy as np

from prototxt_gen.errors import DataError


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
    """Scores of one confusion matrix; shares from 0 to 1, NaN where there is nothing to divide by.

    `iou` (classes,) is intersection over union, TP / (TP + FN + FP): NaN for a class that neither
    truth nor prediction has. `miou` is its mean over the other classes (the paper's mIOU, section
    3.3), `accuracy` the share of scored pixels that are right.
    """

    matrix: np.ndarray
    iou: np.ndarray
    miou: float
    accuracy: float

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
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def scores(matrix: np.ndarray) -> Scores:
    """Return the scores of a (classes, classes + 1) matrix from `confusion`, or of a sum of such."""
    square = matrix[:, :-1]
    hits = np.diagonal(square).astype(float)
    union = matrix.sum(axis=1) + square.sum(axis=0) - hits
    iou = _ratio(hits, union)
    present = iou[~np.isnan(iou)]
    total = matrix.sum()
    return Scores(
        matrix=matrix,
        iou=iou,
        miou=float(present.mean()) if present.size else float("nan"),
        accuracy=float(hits.sum() / total) if total else float("nan"),
    )


def constant_scores(measured: Scores) -> Scores:
    """Return what always predicting the truth's commonest class would score on the same pixels."""
    return scores(constant_prediction(measured.matrix, measured.commonest))
