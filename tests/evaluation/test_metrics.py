"""Scores against cases counted by hand and against plain Python loops."""

import math

import numpy as np
import pytest

from common.errors import DataError
from evaluation.metrics import BY_CLASS, MAIN, OVERALL, confusion, constant_scores, scores

IGNORE = 255


def test_a_case_counted_by_hand():
    truth = np.array([[0, 0, 1, 1], [2, 2, 2, IGNORE]])
    predicted = np.array([[0, 1, 1, 1], [2, 2, 0, 2]])
    matrix = confusion(truth, predicted, 3)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 2, 0]]
    result = scores(matrix)
    assert result["iou"].tolist() == [pytest.approx(1 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert result["miou"] == pytest.approx(5 / 9)
    assert result["accuracy"] == pytest.approx(5 / 7)
    assert result.pixels == 7


def test_maps_are_compared_by_the_papers_miou():
    assert MAIN.key == "miou"
    assert [metric.key for metric in OVERALL] == ["miou", "accuracy", "frequency_weighted_iou"]
    assert [metric.key for metric in BY_CLASS] == ["iou", "precision", "recall", "f1"]


def test_the_first_number_beyond_the_classes_is_not_a_class():
    assert confusion(np.array([0, 1, 2]), np.array([2, 1, 0]), 2).tolist() == [[0, 0, 1], [0, 1, 0]]


def test_precision_recall_and_f1_counted_by_hand():
    # class 0: found 6, claimed wrongly 2, missed 4; class 1: 3, 5, 2; class 2: 1, 0, 1; class 3: no pixel
    matrix = np.array([[6, 4, 0, 0, 0], [2, 3, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    result = scores(matrix)
    np.testing.assert_allclose(result["precision"], [6 / 8, 3 / 8, 1, math.nan])
    np.testing.assert_allclose(result["recall"], [6 / 10, 3 / 5, 1 / 2, math.nan])
    np.testing.assert_allclose(result["f1"], [12 / 18, 6 / 13, 2 / 3, math.nan])
    np.testing.assert_allclose(result["iou"], [6 / 12, 3 / 10, 1 / 2, math.nan])
    assert result["frequency_weighted_iou"] == pytest.approx((10 * 6 / 12 + 5 * 3 / 10 + 2 * 1 / 2) / 17)


def test_a_class_never_predicted_has_no_precision_and_one_without_truth_no_recall():
    result = scores(confusion(np.array([0, 0, 1]), np.array([0, 2, 2]), 3))
    np.testing.assert_array_equal(result["precision"], [1, math.nan, 0])
    np.testing.assert_array_equal(result["recall"], [1 / 2, 0, math.nan])
    np.testing.assert_array_equal(result["f1"], [2 / 3, 0, 0])
    assert result["frequency_weighted_iou"] == pytest.approx(2 / 3 * 1 / 2)


def test_unknown_truth_is_not_scored():
    truth = np.full((4, 4), IGNORE)
    matrix = confusion(truth, np.zeros((4, 4), int), 2)
    assert matrix.sum() == 0
    with np.errstate(all="raise"):  # nor does NumPy warn of a division
        result = scores(matrix)
    assert result.absent.all()
    assert math.isnan(result["miou"])
    assert math.isnan(result["accuracy"])


def test_unknown_predicted_at_a_scored_pixel_is_wrong():
    result = scores(confusion(np.array([0, 0, 1]), np.array([0, IGNORE, 1]), 2))
    assert result["iou"].tolist() == [0.5, 1.0]
    assert result["accuracy"] == pytest.approx(2 / 3)


def test_a_class_absent_from_both_is_nan_and_left_out_of_the_mean():
    result = scores(confusion(np.array([0, 0, 2, 2]), np.array([0, 0, 2, 0]), 3))
    assert result.absent.tolist() == [False, True, False]
    assert result["miou"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_a_class_predicted_but_absent_from_the_truth_scores_0():
    result = scores(confusion(np.array([0, 0]), np.array([0, 1]), 2))
    assert result["iou"].tolist() == [0.5, 0.0]
    assert result["miou"] == 0.25


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(DataError, match=r"\(2, 3\)"):
        confusion(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)


def test_always_predicting_the_commonest_class():
    truth = np.array([0, 1, 1, 1, 2, 2, IGNORE])
    measured = scores(confusion(truth, np.array([0, 1, 1, 1, 2, 2, 0]), 4))
    assert measured.commonest == 1
    constant = constant_scores(measured)
    assert constant["iou"][:3].tolist() == [0, 0.5, 0]
    assert constant.absent.tolist() == [False, False, False, True]
    assert constant["miou"] == pytest.approx(0.5 / 3)
    assert constant["accuracy"] == 0.5


def test_the_commonest_class_is_that_of_the_truth_however_it_was_mapped():
    assert scores(np.array([[2, 2, 1], [0, 4, 0]])).commonest == 0


def loop_scores(truth, predicted, classes):
    """IoU per class and accuracy by visiting each pixel."""
    inside, either = [0] * classes, [0] * classes
    right = total = 0
    for t, p in zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if t == IGNORE:
            continue
        total += 1
        right += t == p
        for label in range(classes):
            inside[label] += t == label and p == label
            either[label] += label in (t, p)
    return [i / e if e else math.nan for i, e in zip(inside, either, strict=True)], right / total


@pytest.mark.parametrize("seed", range(5))
def test_as_counted_pixel_by_pixel(seed):
    random = np.random.default_rng(seed)
    classes = int(random.integers(2, 7))
    labels = np.append(np.arange(classes - seed % 2), IGNORE)
    truth, predicted = (random.choice(labels, (23, 31)).astype(np.uint8) for _ in range(2))
    iou, accuracy = loop_scores(truth, predicted, classes)
    result = scores(confusion(truth, predicted, classes))
    np.testing.assert_allclose(result["iou"], iou)
    assert result["accuracy"] == pytest.approx(accuracy)
    assert result["miou"] == pytest.approx(np.nanmean(iou))


def test_scenes_add_up():
    random = np.random.default_rng(1)
    truth, predicted = random.integers(0, 3, (2, 40, 40))
    whole = confusion(truth, predicted, 3)
    halves = confusion(truth[:17], predicted[:17], 3) + confusion(truth[17:], predicted[17:], 3)
    np.testing.assert_array_equal(whole, halves)


def test_a_stack_of_matrices_scores_like_each_alone():
    stack = np.random.default_rng(0).integers(0, 3, (7, 4, 5))
    stacked = scores(stack)
    for at, matrix in enumerate(stack):
        alone = scores(matrix)
        for name in ("iou", "precision", "recall", "f1", "miou", "accuracy", "frequency_weighted_iou"):
            np.testing.assert_array_equal(stacked[name][at], alone[name])
