"""Intervals against cases that can be counted out."""

import numpy as np
import pytest

from evaluation.intervals import Bootstrap, few_scenes


def matrix(right, wrong):
    """Two classes; of the first's pixels some right and some wrong."""
    return np.array([[right, wrong, 0], [0, 0, 0]])


def accuracy_interval(matrices, **options):
    bootstrap = Bootstrap(**options)
    return bootstrap.interval(bootstrap.scores(np.array(matrices))["accuracy"])


def test_equal_scenes_leave_no_doubt():
    assert accuracy_interval([matrix(3, 1)] * 5) == (0.75, 0.75)


def test_two_scenes_give_their_own_scores_as_bounds():
    """A quarter of the draws is the one scene twice, a quarter the other: both beyond 2.5 %."""
    low, high = accuracy_interval([matrix(9, 1), matrix(2, 8)])
    assert (low, high) == (0.2, 0.9)
    # At level 0.4 the bounds are the quantiles 0.3 and 0.7: half of the draws have one of each.
    low, high = accuracy_interval([matrix(9, 1), matrix(2, 8)], level=0.4)
    assert (low, high) == (0.55, 0.55)


def test_scenes_count_by_their_pixels():
    """Both scenes: 90 + 1 right of 110, not the mean of 0.9 and 0.1."""
    low, high = accuracy_interval([matrix(90, 10), matrix(1, 9)], level=0.4)
    assert low == high == pytest.approx(91 / 110)


def test_the_seed_decides():
    matrices = [matrix(r, 100 - r) for r in range(0, 100, 7)]
    assert accuracy_interval(matrices) == accuracy_interval(matrices)
    assert accuracy_interval(matrices) != accuracy_interval(matrices, seed=1)


def test_a_single_scene_has_no_interval():
    assert Bootstrap().scores(np.array([matrix(1, 1)])) is None


def test_draws_without_a_class_do_not_count_for_it():
    """The second class stands in one scene of two, right in half of its pixels."""
    scenes = np.array([[[4, 0, 0], [0, 0, 0]], [[0, 0, 0], [2, 2, 0]]])
    bootstrap = Bootstrap()
    iou = bootstrap.scores(scenes)["iou"][:, 1]
    assert 0.15 < np.isnan(iou).mean() < 0.35  # a quarter
    assert bootstrap.interval(iou) == (0.5, 0.5)
    assert np.isnan(bootstrap.interval(np.full(9, np.nan))).all()


def test_fewer_than_ten_scenes_are_few_and_one_has_no_interval():
    assert [count for count in range(20) if few_scenes(count)] == list(range(2, 10))
