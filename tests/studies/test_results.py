"""Means, spreads, intervals and differences of a study, against loops written out."""

from itertools import product

import numpy as np
import pytest

from evaluation.evaluation import Evaluation
from evaluation.intervals import Bootstrap
from evaluation.metrics import constant_scores, scores
from studies.results import (
    Difference,
    _mean_of_drawn_seeds,
    corrected,
    difference,
    holm,
    p_value,
    row_of,
)
from tests.datasets import LAND

DRAWS = 4000


def evaluation(rng, right: float, scenes: int = 9) -> Evaluation:
    """Return scores of random maps: a share of about `right` is right, more in the later scenes."""
    truth = rng.multinomial(500, [0.3, 0.25, 0.15, 0.1, 0.1, 0.1], scenes)
    matrices = {}
    for number, counts in enumerate(truth):
        matrix = np.zeros((6, 7), np.int64)
        own = right + (number - scenes // 2) * 0.04
        for label, pixels in enumerate(counts):
            shares = np.full(6, (1 - own) / 5)
            shares[label] = own
            matrix[label, :6] = rng.multinomial(pixels, shares)
        matrices[str(number)] = matrix
    return scored(matrices)


def scored(matrices: dict) -> Evaluation:
    measured = scores(sum(matrices.values()))
    return Evaluation(LAND, matrices, measured, constant_scores(measured), Bootstrap(DRAWS))


def miou(matrices) -> float:
    """Return the mean IoU of a list of matrices, class by class."""
    total = np.sum(matrices, axis=0)
    ious = []
    for label in range(6):
        union = total[label].sum() + total[:, label].sum() - total[label, label]
        if union:
            ious.append(total[label, label] / union)
    return sum(ious) / len(ious)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_a_row_has_the_mean_and_the_spread_over_seeds(rng):
    seeds = [evaluation(rng, right) for right in (0.5, 0.6, 0.8)]
    row = row_of("dfcnet", "one_scale", seeds)
    mious = [miou(list(each.matrices.values())) for each in seeds]
    assert row.mious == pytest.approx(mious)
    assert row.mean == pytest.approx(sum(mious) / 3)
    spread = (sum((value - row.mean) ** 2 for value in mious) / 2) ** 0.5
    assert row.spread == pytest.approx(spread)
    assert row.iou["urban"] == pytest.approx(np.mean([each.measured["iou"][0] for each in seeds]))


def test_an_interval_is_of_the_mean_over_seeds_with_the_same_scenes_in_all(rng):
    seeds = [evaluation(rng, right) for right in (0.5, 0.7)]
    row = row_of("dfcnet", "one_scale", seeds)
    own = np.random.default_rng(11)
    means = []
    for _ in range(4000):
        drawn = own.integers(0, 9, 9).astype(str)
        means.append(np.mean([miou([each.matrices[id] for id in drawn]) for each in seeds]))
    assert row.interval == pytest.approx(np.quantile(means, (0.025, 0.975)), abs=0.008)


def test_a_difference_is_drawn_over_scenes_and_seeds(rng):
    first = [evaluation(rng, right) for right in (0.5, 0.54, 0.46)]
    better = [evaluation(rng, right) for right in (0.6, 0.7, 0.5)]
    found = difference("dfcnet", "baseline", "both", better, first)
    assert found.mean == pytest.approx(row_of("a", "b", better).mean - row_of("a", "b", first).mean)
    own = np.random.default_rng(12)
    drawn = []
    for _ in range(4000):
        scenes = own.integers(0, 9, 9).astype(str)
        leads = [
            miou([a.matrices[id] for id in scenes]) - miou([b.matrices[id] for id in scenes])
            for a, b in zip(better, first, strict=True)
        ]
        mean = sum(leads) / 3
        deviation = np.mean([leads[i] for i in own.integers(0, 3, 3)]) - mean
        drawn.append(mean + deviation * (3 / 2) ** 0.5)
    assert found.interval == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.01)
    assert found.p == pytest.approx(2 * np.mean(np.array(drawn) <= 0), abs=0.02)


def test_seeds_are_drawn_in_pairs(rng):
    """A lead that all seeds share is certain, however much the seeds differ: one scene four times over."""
    worse = [repeated(rng, right) for right in (0.4, 0.5, 0.6)]
    better = [
        scored({id: matrix + lead_of(matrix) for id, matrix in each.matrices.items()}) for each in worse
    ]
    leads = [miou([b.matrices["0"]]) - miou([a.matrices["0"]]) for a, b in zip(worse, better, strict=True)]
    found = difference("dfcnet", "baseline", "both", better, worse)
    assert min(leads) > 0
    assert found.interval[0] > 0
    assert found.p == pytest.approx(2 / (DRAWS + 1))


def lead_of(matrix: np.ndarray) -> np.ndarray:
    """Return a change that makes a tenth of each class's wrong pixels right."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    change = -(wrong // 10)
    np.fill_diagonal(change, -change.sum(axis=1))
    return change


def test_a_p_value_is_twice_the_rarer_side():
    draws = np.array([-1.0, 2, 3, 4, 5, 6, 7, 8, 9])
    assert p_value(draws) == pytest.approx(2 * (1 + 1) / 10)
    assert p_value(-draws) == p_value(draws)
    assert p_value(np.append(draws, np.nan)) == p_value(draws)
    assert p_value(np.zeros(9)) == 1.0


def test_holms_correction_as_computed_by_hand():
    """Of four: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1 = 0.04, which may not be below 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_differences_without_a_p_do_not_count_in_the_correction():
    rows = [Difference("a", "b", "", 0.1, None, p) for p in (0.04, None, 0.02)]
    assert [each.p_holm for each in corrected(rows)] == pytest.approx([0.04, None, 0.04])


def test_equal_seeds_leave_the_scenes_alone_to_chance(rng):
    one, other = evaluation(rng, 0.6), evaluation(rng, 0.5)
    several = difference("dfcnet", "baseline", "both", [one] * 3, [other] * 3)
    alone = difference("dfcnet", "baseline", "both", [one], [other])
    assert several.interval == pytest.approx(alone.interval)
    assert alone.interval == one.lead(other)[1]


def test_equal_scenes_leave_the_seeds_alone_to_chance(rng):
    """Then the interval is that of the seeds' mean, whose deviation the seeds' own tells."""
    seeds, still = [repeated(rng, right) for right in (0.4, 0.5, 0.7)], [repeated(rng, 0.5)] * 3
    found = difference("dfcnet", "baseline", "both", seeds, still)
    mious = [miou([each.matrices["0"]]) for each in seeds]
    mean, other = np.mean(mious), miou([still[0].matrices["0"]])
    means = [mean + (np.mean(some) - mean) * 1.5**0.5 for some in product(mious, repeat=3)]
    # Thrice the same seed has a chance of 1 in 27, more than the 2.5 % that each side leaves out.
    assert found.interval == pytest.approx((min(means) - other, max(means) - other))


def repeated(rng, right: float) -> Evaluation:
    """Return scores of four scenes that are all alike."""
    return scored(dict.fromkeys("0123", evaluation(rng, right, scenes=1).matrices["0"]))


def test_a_seeds_deviation_is_enlarged_to_that_of_a_mean_of_seeds(rng):
    """The draws of n of n seeds vary by (n - 1) / n of what their mean does: s^2 / n is due."""
    draws = np.repeat(np.array([[0.2], [0.3], [0.7]]), 200_000, axis=1)
    drawn = _mean_of_drawn_seeds(rng, draws)
    assert drawn.mean() == pytest.approx(0.4, abs=1e-3)
    assert drawn.var() == pytest.approx(np.var([0.2, 0.3, 0.7], ddof=1) / 3, rel=0.02)


def test_equal_maps_have_no_difference(rng):
    one = [evaluation(rng, 0.6)]
    found = difference("dfcnet", "baseline", "both", one, one)
    assert (found.mean, found.interval) == (0.0, (0.0, 0.0))
    assert row_of("dfcnet", "one_scale", one).spread is None


def test_a_single_scene_has_no_interval(rng):
    one = [evaluation(rng, 0.6, scenes=1)]
    assert row_of("dfcnet", "one_scale", one).interval is None
    assert difference("dfcnet", "baseline", "both", one, one).interval is None


def test_a_class_that_one_seed_alone_claims_has_the_mean_of_those_that_do():
    absent, claimed = np.zeros((6, 7), np.int64), np.zeros((6, 7), np.int64)
    absent[1, 1] = claimed[1, 1] = 8
    claimed[1, 4] = 2
    row = row_of(
        "dfcnet", "one_scale", [scored({"1": absent, "2": absent}), scored({"1": claimed, "2": absent})]
    )
    assert row.iou["agriculture"] == pytest.approx((1 + 16 / 18) / 2)
    assert row.iou["water"] == 0
    assert np.isnan(row.iou["forest"])
