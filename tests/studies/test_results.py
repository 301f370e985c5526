"""Means, spreads, intervals and leads of a study, against loops written out."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.classes import TASKS
from inference.bootstrap import Resampling
from inference.evaluation import Evaluation
from inference.metrics import constant_scores, scores
from studies.results import row_of

LAND = TASKS["land"]
DRAWS = 400


def evaluation(rng, right: float, scenes: int = 9) -> Evaluation:
    """Return scores of random maps of which a share of about `right` is right."""
    truth = rng.multinomial(500, [0.3, 0.25, 0.15, 0.1, 0.1, 0.1], scenes)
    matrices = {}
    for number, counts in enumerate(truth):
        matrix = np.zeros((6, 7), np.int64)
        for label, pixels in enumerate(counts):
            shares = np.full(6, (1 - right) / 5)
            shares[label] = right
            matrix[label, :6] = rng.multinomial(pixels, shares)
        matrices[str(number)] = matrix
    measured = scores(sum(matrices.values()))
    return Evaluation(LAND, matrices, measured, constant_scores(measured), Resampling(DRAWS))


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
    assert row.iou["urban"] == pytest.approx(np.mean([each.measured.iou[0] for each in seeds]))
    assert (row.lead, row.lead_interval) == (None, None)


def test_an_interval_is_of_the_mean_over_seeds_with_the_same_scenes_in_all(rng):
    seeds = [evaluation(rng, right) for right in (0.5, 0.7)]
    row = row_of("dfcnet", "one_scale", seeds)
    own = np.random.default_rng(11)
    means = []
    for _ in range(4000):
        drawn = own.integers(0, 9, 9).astype(str)
        means.append(np.mean([miou([each.matrices[id] for id in drawn]) for each in seeds]))
    assert row.interval == pytest.approx(np.quantile(means, (0.025, 0.975)), abs=0.004)


def test_a_lead_is_drawn_over_scenes_and_seeds(rng):
    first = [evaluation(rng, right) for right in (0.5, 0.54, 0.46)]
    better = [evaluation(rng, right) for right in (0.6, 0.7, 0.5)]
    row = row_of("dfcnet", "one_scale", better, first)
    assert row.lead == pytest.approx(row.mean - row_of("baseline", "one_scale", first).mean)
    own = np.random.default_rng(12)
    leads = []
    for _ in range(4000):
        drawn = own.integers(0, 9, 9).astype(str)
        means = [
            np.mean([miou([seeds[i].matrices[id] for id in drawn]) for i in own.integers(0, 3, 3)])
            for seeds in (better, first)
        ]
        leads.append(means[0] - means[1])
    assert row.lead_interval == pytest.approx(np.quantile(leads, (0.025, 0.975)), abs=0.02)


def test_equal_maps_have_no_lead(rng):
    one = [evaluation(rng, 0.6)]
    row = row_of("dfcnet", "one_scale", one, one)
    assert (row.lead, row.lead_interval, row.spread) == (0.0, (0.0, 0.0), None)


def test_a_single_scene_has_no_interval(rng):
    one = [replace(evaluation(rng, 0.6, scenes=1))]
    row = row_of("dfcnet", "one_scale", one, one)
    assert (row.interval, row.lead_interval) == (None, None)
