"""Folders of masks to scores, as numbers for a file and as a table for a reader."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.classes import Task
from inference.folders import MaskPair
from inference.masks import read_labels
from inference.metrics import Scores, confusion, constant_scores, scores
from prototxt_gen.errors import DataError


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of maps; `matrices` keeps each scene's confusion matrix by id."""

    task: Task
    matrices: dict[str, np.ndarray]
    measured: Scores
    constant: Scores

    @property
    def commonest(self) -> str:
        """Name of the truth's commonest class."""
        return self.task.classes[self.measured.commonest]

    @property
    def ratio(self) -> float:
        """MIoU divided by that of always predicting the commonest class."""
        return self.measured.miou / self.constant.miou


def evaluate(
    pairs: Sequence[MaskPair],
    task: Task,
    progress: Callable[[Iterable[MaskPair]], Iterable[MaskPair]] = iter,
) -> Evaluation:
    """Compare the masks of `pairs`: one confusion matrix over all pixels of all scenes.

    Raises DataError for a mask that cannot be read, a prediction of another size than its truth, and
    where no pixel at all is scored.
    """
    matrices = {pair.id: _compare(pair, task) for pair in progress(pairs)}
    measured = scores(sum(matrices.values()))
    if not measured.pixels:
        raise DataError(pairs[0].truth.parent, "has unknown pixels only", "give truth with a class in it")
    return Evaluation(task, matrices, measured, constant_scores(measured))


def _compare(pair: MaskPair, task: Task) -> np.ndarray:
    truth, predicted = read_labels(pair.truth, task), read_labels(pair.predicted, task)
    if truth.shape != predicted.shape:
        sizes = "{1}x{0}, the truth {3}x{2}".format(*predicted.shape, *truth.shape)
        raise DataError(pair.predicted, f"is {sizes}", "predict the image that belongs to the truth")
    return confusion(truth, predicted, len(task.classes))


def table(evaluation: Evaluation) -> str:
    """Return the scores as lines of text, in percent; an absent class has no IoU and says so."""
    measured, constant = evaluation.measured, evaluation.constant
    classes = evaluation.task.classes
    rows = [
        f"{name:<12}  {_percent(iou) if not absent else 'absent':>7}  {_percent(share):>7}"
        for name, iou, absent, share in zip(
            classes, measured.iou, measured.absent, measured.truth_share, strict=True
        )
    ]
    absent = [name for name, gone in zip(classes, measured.absent, strict=True) if gone]
    left_out = f" ({', '.join(absent)} left out: neither in truth nor predicted)" if absent else ""
    always = f"always {evaluation.commonest}"
    width = max(len(always), len("pixel accuracy"))
    return "\n".join(
        [
            f"{_scenes(len(evaluation.matrices))}, {measured.pixels:,} scored pixels, {evaluation.task.name}",
            "",
            f"{'class':<12}  {'IoU %':>7}  {'truth %':>7}",
            *rows,
            "",
            f"{'mIoU':<{width}}  {_percent(measured.miou):>6} %{left_out}",
            f"{'pixel accuracy':<{width}}  {_percent(measured.accuracy):>6} %",
            f"{always:<{width}}  {_percent(constant.miou):>6} % mIoU, "
            f"{_percent(constant.accuracy)} % accuracy",
            f"{'ratio':<{width}}  {evaluation.ratio:>6.2f} times the mIoU of always {evaluation.commonest}",
        ]
    )


def _scenes(count: int) -> str:
    return "1 scene" if count == 1 else f"{count} scenes"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def as_numbers(evaluation: Evaluation) -> dict:
    """Return all scores as plain numbers for JSON: shares from 0 to 1, None for what is undefined."""
    measured, classes = evaluation.measured, evaluation.task.classes
    return {
        "task": evaluation.task.name,
        "scenes": list(evaluation.matrices),
        "scored_pixels": measured.pixels,
        "miou": _number(measured.miou),
        "accuracy": _number(measured.accuracy),
        "iou": dict(zip(classes, map(_number, measured.iou), strict=True)),
        "truth_share": dict(zip(classes, map(_number, measured.truth_share), strict=True)),
        "absent": [name for name, gone in zip(classes, measured.absent, strict=True) if gone],
        "always_commonest": {
            "class": evaluation.commonest,
            "miou": _number(evaluation.constant.miou),
            "accuracy": _number(evaluation.constant.accuracy),
            "ratio": _number(evaluation.ratio),
        },
        "confusion": {
            "rows_truth": list(classes),
            "columns_predicted": [*classes, "unknown"],
            "pixels": measured.matrix.tolist(),
        },
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
