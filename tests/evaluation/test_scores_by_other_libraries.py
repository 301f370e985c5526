"""Scores and intervals as scikit-learn and SciPy compute them."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from evaluation.intervals import Bootstrap
from evaluation.metrics import confusion, scores

IGNORE = 255


@pytest.mark.parametrize("seed", range(4))
def test_as_scikit_learn_counts(seed):
    """With unknown truth, unknown predictions (seeds 1, 3) and a class in neither (seeds 2, 3)."""
    random = np.random.default_rng(seed)
    classes, used = 6, 6 - (seed > 1)
    truth = random.choice([*range(used), IGNORE], (40, 50))
    wrong = random.choice([*range(used), *([IGNORE] if seed % 2 else [])], truth.shape)
    predicted = np.where((random.random(truth.shape) < 0.6) & (truth != IGNORE), truth, wrong)
    result = scores(confusion(truth, predicted, classes))

    scored = truth != IGNORE
    both = truth[scored], predicted[scored]
    labels = list(range(classes))
    matrix = sklearn.metrics.confusion_matrix(*both, labels=[*labels, IGNORE])
    np.testing.assert_array_equal(result.matrix, matrix[:-1])
    per_class = sklearn.metrics.precision_recall_fscore_support(*both, labels=labels, zero_division=np.nan)
    np.testing.assert_allclose([result["precision"], result["recall"], result["f1"]], per_class[:3])
    iou = sklearn.metrics.jaccard_score(*both, labels=labels[:used], average=None)
    np.testing.assert_allclose(result["iou"][:used], iou)
    assert np.isnan(result["iou"][used:]).all()
    assert result["miou"] == pytest.approx(iou.mean())
    assert result["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(*both))
    weighted = sklearn.metrics.jaccard_score(*both, labels=labels[:used], average="weighted")
    assert result["frequency_weighted_iou"] == pytest.approx(weighted)


def test_as_scipy_draws():
    random = np.random.default_rng(5)
    right = random.integers(0, 101, 40)
    matrices = np.array([[[r, 100 - r, 0], [0, 0, 0]] for r in right])  # two classes, the second not there
    bootstrap = Bootstrap(resamples=20000)
    ours = bootstrap.interval(bootstrap.scores(matrices)["accuracy"])
    theirs = scipy.stats.bootstrap((right / 100,), np.mean, n_resamples=20000, method="percentile", rng=1)
    np.testing.assert_allclose(ours, theirs.confidence_interval, atol=0.004)
