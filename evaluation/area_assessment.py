"""An interpreted sample to accuracy and areas: points counted, estimates made, as text and as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from common.datasets import Dataset
from common.errors import DataError
from common.files import file_checksum
from common.numbers import json_number, plural
from evaluation.area_estimation import MIN_POINTS, AreaEstimates, Estimate, estimate
from evaluation.sampling import Point, SampleDesign


@dataclass(frozen=True)
class AreaAssessment:
    """The counted points of a sample: a row for each class of the map, a column for each true one.

    `missing` points had no interpretation and were left out.
    """

    design: SampleDesign
    counts: np.ndarray
    missing: int = 0

    @property
    def mapped(self) -> np.ndarray:
        """What the map says, (C,), in hectares."""
        return np.array([stratum.hectares for stratum in self.design.strata])

    @cached_property
    def estimates(self) -> AreaEstimates:
        """Accuracy, and shares of the total area."""
        pixels = [stratum.pixels for stratum in self.design.strata]
        return estimate(self.counts, self.mapped, self.counts.sum(axis=1) == pixels)

    @property
    def hectares(self) -> Estimate:
        """The area that each class truly has, (C,), in hectares (equation 11)."""
        return self.estimates.area.times(self.mapped.sum())


def check_maps(design: SampleDesign, maps: Mapping[str, Path]) -> None:
    """Raise DataError unless `maps`, files by id, are those that were sampled, all of them and unchanged."""
    sampled = {each.id: each for each in design.maps}
    remedy = "give the maps that were sampled: the points of other strata say nothing about this one"
    for id, path in maps.items():
        if id not in sampled or file_checksum(path) != sampled[id].sha256:
            names = ", ".join(each.file for each in design.maps[:3])
            raise DataError(path, f"is not a map of the sample's design ({names})", remedy)
    if missing := sorted(sampled.keys() - maps.keys()):
        fact = f"lacks {plural(len(missing), 'map')} that the sample was drawn from, as {missing[0]}"
        raise DataError(next(iter(maps.values())).parent, fact, "give all the maps that were sampled")


def assess(
    path: Path, points: Sequence[Point], design: SampleDesign, drop_missing: bool = False
) -> AreaAssessment:
    """Count the interpreted points of the sample `path`.

    Raises DataError for references that are not classes, for points without one unless `drop_missing`, and
    where too few points of a class are left for a standard error.
    """
    readings = _readings(design.dataset)
    missing = [point.id for point in points if not point.reference]
    if missing and not drop_missing:
        fact = f"has {plural(len(missing), 'point')} of {len(points)} without a reference, as {missing[0]}"
        raise DataError(path, fact, "interpret them, or give --drop-missing if chance decided which they are")
    counts = np.zeros((len(design.strata),) * 2, np.int64)
    for point in points:
        if not point.reference:
            continue
        if point.reference not in readings:
            fact = f"has the reference {point.reference!r} at point {point.id}"
            raise DataError(path, fact, f"give one of {', '.join(design.dataset.class_names)}")
        counts[point.number, readings[point.reference]] += 1
    for stratum, interpreted in zip(design.strata, counts.sum(axis=1), strict=True):
        if interpreted < min(stratum.pixels, MIN_POINTS):
            fact = f"has {plural(int(interpreted), 'interpreted point')} of the map's class {stratum.name}"
            raise DataError(path, fact, f"interpret {MIN_POINTS} or more of each class")
    return AreaAssessment(design, counts, len(missing))


def _readings(dataset: Dataset) -> dict[str, int]:
    """Return what a reference may say, a class by its name or its number; not what could be either of two."""
    names = {name: label for label, name in enumerate(dataset.class_names)}
    numbers = {str(label): label for label in names.values()}
    return {text: label for text, label in (numbers | names).items() if numbers.get(text, label) == label}


def as_numbers(assessment: AreaAssessment) -> dict:
    """Return all numbers for JSON: shares from 0 to 1, areas in hectares, None for what is undefined."""
    found, names = assessment.estimates, assessment.design.dataset.class_names

    def one(estimated: Estimate, most: float, label: int | tuple = ()) -> dict:
        values = (estimated.value, estimated.standard_error, *estimated.interval(most))
        value, error, low, high = (json_number(float(each[label])) for each in values)
        return {"value": value, "standard_error": error, "interval": [low, high]}

    def by_class(estimated: Estimate, most: float = 1.0) -> dict:
        return {name: one(estimated, most, label) for label, name in enumerate(names)}

    total = float(assessment.mapped.sum())
    return {
        "dataset": assessment.design.dataset.name,
        "seed": assessment.design.seed,
        "maps": [each.id for each in assessment.design.maps],
        "points": int(assessment.counts.sum()),
        "missing": assessment.missing,
        "level": 0.95,
        "total_hectares": total,
        "mapped_hectares": dict(zip(names, assessment.mapped.tolist(), strict=True)),
        "hectares": by_class(assessment.hectares, total),
        "overall_accuracy": one(found.overall, 1.0),
        "users_accuracy": by_class(found.users),
        "producers_accuracy": by_class(found.producers),
        "error_matrix": {
            "rows_map": list(names),
            "columns_reference": list(names),
            "points": assessment.counts.tolist(),
            "area_shares": found.matrix.tolist(),
        },
    }


def table(assessment: AreaAssessment) -> str:
    """Return the estimates as lines of text."""
    design, found, hectares = assessment.design, assessment.estimates, assessment.hectares
    names = design.dataset.class_names
    width = max(len("class"), *map(len, names))
    points = plural(int(assessment.counts.sum()), "point")
    lines = [
        f"{plural(len(design.maps), 'map')}, {assessment.mapped.sum():,.2f} ha, {points}, "
        f"{design.dataset.title}",
        "",
        f"{'class':<{width}}  {'mapped ha':>14}  {'estimated ha':>27}  {'user %':>14}  {'producer %':>14}",
    ]
    for label, name in enumerate(names):
        cells = (
            f"{assessment.mapped[label]:>14,.2f}",
            f"{hectares.value[label]:>14,.2f} ±{hectares.margin[label]:>11,.2f}",
            f"{_percent(found.users, label):>14}",
            f"{_percent(found.producers, label):>14}",
        )
        lines.append(f"{name:<{width}}  {'  '.join(cells)}")
    lines += ["", f"overall accuracy {_percent(found.overall)} %", "", *_matrix(assessment, width)]
    lines += [
        "",
        "±: half of a 95 % interval, 1.96 standard errors (Olofsson et al. 2014, equations 1 to 11)",
    ]
    if assessment.missing:
        lines.append(f"{plural(assessment.missing, 'point')} without interpretation: left out")
    return "\n".join(lines)


def _matrix(assessment: AreaAssessment, width: int) -> list[str]:
    names, shares = assessment.design.dataset.class_names, assessment.estimates.matrix
    columns = [max(len(name), 6) for name in names]
    heads = "  ".join(f"{name:>{size}}" for name, size in zip(names, columns, strict=True))
    lines = [
        "error matrix in percent of the area: a row for each class of the map, a column for each true one"
    ]
    lines.append(f"{'':<{width}}  {heads}")
    for name, row in zip(names, shares, strict=True):
        cells = (f"{100 * share:>{size}.2f}" for share, size in zip(row, columns, strict=True))
        lines.append(f"{name:<{width}}  {'  '.join(cells)}")
    return lines


def _percent(estimated: Estimate, label: int | tuple = ()) -> str:
    value, margin = estimated.value[label], estimated.margin[label]
    return "-" if np.isnan(value) else f"{100 * value:.1f} ± {100 * margin:.1f}"
