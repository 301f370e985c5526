"""Scores as files: plain numbers for JSON, rows for CSV. Shares from 0 to 1, nothing where undefined."""

import csv
import io
import math
from collections.abc import Iterator, Mapping

import numpy as np

from common.numbers import json_number
from evaluation.evaluation import Evaluation
from evaluation.intervals import few_scenes
from evaluation.metrics import BY_CLASS, MAIN, OVERALL, scores

CSV_COLUMNS = ("maps", "score", "class", "value", "low", "high")


def as_numbers(evaluation: Evaluation) -> dict:
    """Return all scores as plain numbers for JSON: None for what is undefined."""
    measured, classes = evaluation.measured, evaluation.dataset.class_names
    return {
        "dataset": evaluation.dataset.name,
        "scenes": list(evaluation.matrices),
        "trained": list(evaluation.trained),
        "weights": list(evaluation.weights),
        "scored_pixels": measured.pixels,
        **{metric.key: json_number(measured[metric.key]) for metric in OVERALL},
        **{metric.key: _by_class(classes, measured[metric.key]) for metric in BY_CLASS},
        "truth_share": _by_class(classes, measured.truth_share),
        "absent": [name for name, absent in zip(classes, measured.absent, strict=True) if absent],
        "intervals": _intervals(evaluation),
        "always_commonest": {
            "class": evaluation.commonest,
            **{metric.key: json_number(evaluation.constant[metric.key]) for metric in OVERALL},
            "ratio": json_number(evaluation.ratio),
        },
        "confusion": {
            "rows_truth": list(classes),
            "columns_predicted": list(evaluation.columns),
            "pixels": measured.matrix.tolist(),
        },
        "by_scene": {id: scene_numbers(matrix) for id, matrix in evaluation.matrices.items()},
    }


def _intervals(evaluation: Evaluation) -> dict | None:
    """Return each score's bounds and how they were drawn; None for a single scene."""
    if evaluation.resampled is None:
        return None
    bootstrap, classes = evaluation.bootstrap, evaluation.dataset.class_names
    bounds = {metric.key: _bounds(evaluation.interval(metric.key)) for metric in OVERALL}
    for key in (metric.key for metric in BY_CLASS):
        bounds[key] = {name: _bounds(evaluation.interval(key, label)) for label, name in enumerate(classes)}
    drawn = {"level": bootstrap.level, "resamples": bootstrap.resamples, "seed": bootstrap.seed}
    warning = few_scenes(len(evaluation.matrices))
    return {"method": "percentile bootstrap over scenes", "warning": warning, **drawn, **bounds}


def scene_numbers(matrix: np.ndarray) -> dict:
    """Return what a file of scores says of one scene, from its confusion matrix."""
    measured = scores(matrix)
    numbers = {metric.key: json_number(measured[metric.key]) for metric in OVERALL}
    return {"scored_pixels": measured.pixels, **numbers}


def as_comparison(evaluations: Mapping[str, Evaluation]) -> dict:
    """Return the numbers of several sets of maps by name, each with its mIoU's lead over the first."""
    first = next(iter(evaluations.values()))
    maps = {}
    for name, evaluation in evaluations.items():
        lead, bounds = evaluation.lead(first)
        maps[name] = as_numbers(evaluation) | {"lead": {MAIN.key: lead, "interval": _bounds(bounds)}}
    return {"first": next(iter(evaluations)), "maps": maps}


def as_csv(evaluations: Mapping[str, Evaluation]) -> str:
    """Return one line per set of maps, score and class: value and bounds, empty where undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for name, evaluation in evaluations.items():
        writer.writerows((name, *row) for row in _rows(evaluation))
    return text.getvalue()


def _rows(evaluation: Evaluation) -> Iterator[tuple]:
    measured, classes = evaluation.measured, evaluation.dataset.class_names
    for key in (metric.key for metric in OVERALL):
        yield key, "", json_number(measured[key]), *(_bounds(evaluation.interval(key)) or (None, None))
    for key in (metric.key for metric in BY_CLASS):
        for label, name in enumerate(classes):
            bounds = _bounds(evaluation.interval(key, label)) or (None, None)
            yield key, name, json_number(measured[key][label]), *bounds
    for name, share in zip(classes, measured.truth_share, strict=True):
        yield "truth_share", name, json_number(share), None, None


def _by_class(classes: tuple[str, ...], values) -> dict[str, float | None]:
    return dict(zip(classes, map(json_number, values), strict=True))


def _bounds(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None or math.isnan(bounds[0]) else [float(bound) for bound in bounds]
