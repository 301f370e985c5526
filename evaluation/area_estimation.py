"""Accuracy and areas of a map from a stratified random sample whose strata are the map's classes.

The equations are those of Olofsson et al. (2014), "Good practices for estimating area and assessing accuracy
of land change", Remote Sensing of Environment 148, 42-57. All counts may have leading axes, as of many
samples at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.96  # of a 95 % interval, as the paper has it
MIN_POINTS = 2  # of a stratum: one says nothing about its spread


@dataclass(frozen=True)
class Estimate:
    """Estimated values and their standard errors, in one unit; NaN where nothing can be estimated."""

    value: np.ndarray
    standard_error: np.ndarray

    @property
    def margin(self) -> np.ndarray:
        """Half the width of the 95 % interval."""
        return Z * self.standard_error

    def interval(self, most: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds of the 95 % interval, cut off at 0 and `most`, beyond which no value can lie."""
        return np.maximum(self.value - self.margin, 0), np.minimum(self.value + self.margin, most)

    def times(self, factor: float) -> "Estimate":
        """Return the estimate in another unit."""
        return Estimate(self.value * factor, self.standard_error * factor)


@dataclass(frozen=True)
class AreaEstimates:
    """What a sample says of a map of C classes, shares from 0 to 1.

    `matrix` (..., C, C) holds the estimated shares of the total area, a row for each class of the map and a
    column for each true one; `overall` is (...), the others are (..., C). `area` is the share of the total
    area that each class truly has.
    """

    matrix: np.ndarray
    overall: Estimate
    users: Estimate
    producers: Estimate
    area: Estimate


def estimate(counts: np.ndarray, weights: np.ndarray, complete: np.ndarray | None = None) -> AreaEstimates:
    """Return the estimates of a sample.

    `counts` (..., C, C) are points, a row for each class of the map and a column for each true one; `weights`
    (C,) is each map class's share W_i of the total area, or any multiple of it. Strata that are `complete`
    (C,), of which every pixel is in the sample, add nothing to a standard error. Others need MIN_POINTS
    points where they have an area: with fewer, what depends on them is NaN.
    """
    counts, weights = np.asarray(counts, float), np.asarray(weights, float)
    complete = np.zeros(len(weights), bool) if complete is None else np.asarray(complete)
    points = counts.sum(axis=-1)
    share = weights / weights.sum()
    # Of 0/1 variables: their means p in each stratum, and the variances p (1 - p) / (n - 1) of these.
    within = np.divide(counts, points[..., None], out=np.zeros_like(counts), where=points[..., None] > 0)
    freedom = np.where(points < MIN_POINTS, np.where(weights > 0, np.nan, 1), points - 1)
    variance = within * (1 - within) / np.where(complete, np.inf, freedom)[..., None]
    matrix = share[:, None] * within  # equation 4
    right, right_variance = _diagonal(within), _diagonal(variance)
    truth = matrix.sum(axis=-2)  # equation 9
    overall = Estimate(
        _diagonal(matrix).sum(axis=-1),  # equation 1
        np.sqrt((share**2 * right_variance).sum(axis=-1)),  # equation 5
    )
    mapped = points > 0
    users = Estimate(  # equations 2 and 6
        np.where(mapped, right, np.nan), np.where(mapped, np.sqrt(right_variance), np.nan)
    )
    producers = _divided(_diagonal(matrix), truth)  # equation 3
    spread = share[:, None] ** 2 * variance
    own = _diagonal(spread)
    # Not the sum less `own`: where that is much larger, nothing would be left of the others' digits.
    others = np.where(np.eye(len(weights), dtype=bool), 0, spread).sum(axis=-2)
    error = np.sqrt((1 - producers) ** 2 * own + producers**2 * others)  # equation 7
    return AreaEstimates(
        matrix,
        overall,
        users,
        Estimate(producers, _divided(error, truth)),
        Estimate(truth, np.sqrt(spread.sum(axis=-2))),  # equation 10
    )


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def sample_size(weights: Sequence[float], users: Sequence[float], standard_error: float, units: int) -> int:
    """Return how many points give the overall accuracy a `standard_error` (equation 13; Cochran, 5.25).

    `weights` are the classes' shares of the area or any multiple of them, `users` the user's accuracies that
    are expected of them, from 0 to 1, `units` the pixels there are.
    """
    share = np.asarray(weights, float) / np.sum(weights)
    variance = np.asarray(users) * (1 - np.asarray(users))  # S_i squared
    total = float((share * np.sqrt(variance)).sum()) ** 2
    return int(np.ceil(total / (standard_error**2 + float((share * variance).sum()) / units) - 1e-9))


def allocate(total: int, pixels: Sequence[int], least: int) -> list[int]:
    """Share `total` points among classes of so many `pixels`, as the paper recommends (5.1.2).

    Rare classes get `least` points each, the others the rest in proportion to their pixels, each at least as
    many too; a class gets no more points than it has pixels. So where many classes are rare there may be more
    points than `total`.
    """
    pixels = np.asarray(pixels, np.int64)
    rare = np.zeros(len(pixels), bool)
    while True:
        rest, common = max(total - least * int((rare & (pixels > 0)).sum()), 0), pixels * ~rare
        points = rest * common / max(common.sum(), 1)
        rarer = rare | ((pixels > 0) & (points < least))
        if (rarer == rare).all():
            break
        rare = rarer
    whole = np.floor(points).astype(np.int64)
    by_fraction = np.argsort(-(points - whole), kind="stable")
    whole[by_fraction[: round(points.sum()) - whole.sum()]] += 1
    return np.minimum(np.where(rare, least, whole), pixels).tolist()
