"""Scores, intervals and reliability of any maps, against visiting each pixel; changes of any two maps."""

import math
from fractions import Fraction
from statistics import fmean

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluation.calibration import BINS, Reliability
from evaluation.intervals import Bootstrap
from evaluation.metrics import METRICS, confusion, constant_scores, scores

UNKNOWN = (-1, 7, 200, 255)  # what is not a class of 2 to 6


@st.composite
def maps(draw) -> tuple[np.ndarray, np.ndarray, int]:
    """A true and a predicted map, and how many classes there are; some pixels of either have none."""
    classes = draw(st.integers(2, 6))
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    labels = st.sampled_from([*range(classes), classes, *UNKNOWN])
    return *(draw(arrays(np.int16, shape, elements=labels)) for _ in range(2)), classes


@st.composite
def matrices(draw, scenes: int = 1, least: int = 0) -> np.ndarray:
    """Confusion matrices (scenes, classes, classes + 1)."""
    classes = draw(st.integers(2, 4))
    return draw(arrays(np.int64, (scenes, classes, classes + 1), elements=st.integers(least, 50)))


def share(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


def by_visiting_pixels(truth: np.ndarray, predicted: np.ndarray, classes: int) -> dict:
    """All scores as fractions, None where there is nothing to divide by."""
    pairs = [
        (true, said)
        for true, said in zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True)
        if true in range(classes)
    ]
    iou, precision, recall, f1, weighted = [], [], [], [], Fraction(0)
    for label in range(classes):
        right = sum(1 for true, said in pairs if true == said == label)
        wrong = sum(1 for true, said in pairs if said == label != true)
        missed = sum(1 for true, said in pairs if true == label != said)
        iou.append(share(right, right + wrong + missed))
        precision.append(share(right, right + wrong))
        recall.append(share(right, right + missed))
        f1.append(share(2 * right, 2 * right + wrong + missed))
        weighted += (iou[-1] or 0) * (right + missed)
    known = [value for value in iou if value is not None]
    return {
        "miou": sum(known) / len(known) if known else None,
        "accuracy": share(sum(1 for true, said in pairs if true == said), len(pairs)),
        "frequency_weighted_iou": weighted / len(pairs) if pairs else None,
        "iou": iou,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def assert_same(measured, expected) -> None:
    as_floats = [
        math.nan if value is None else float(value)
        for value in (expected if isinstance(expected, list) else [expected])
    ]
    np.testing.assert_allclose(np.atleast_1d(measured), as_floats, rtol=1e-12)


@given(maps())
def test_every_score_is_that_of_visiting_each_pixel(drawn):
    truth, predicted, classes = drawn
    matrix = confusion(truth, predicted, classes)
    assert matrix.shape == (classes, classes + 1)
    for true in range(classes):
        rest = (truth == true) & ~np.isin(predicted, range(classes))
        columns = [((truth == true) & (predicted == said)).sum() for said in range(classes)]
        assert matrix[true].tolist() == [*columns, rest.sum()]
    result, expected = scores(matrix), by_visiting_pixels(truth, predicted, classes)
    assert {metric.key for metric in METRICS} == expected.keys()
    for key, values in expected.items():
        assert_same(result[key], values)
    assert result.pixels == matrix.sum()
    assert result.absent.tolist() == [value is None for value in expected["iou"]]
    shares = [(truth == label).sum() / max(result.pixels, 1) for label in range(classes)]
    np.testing.assert_allclose(result.truth_share, shares)


@given(maps())
def test_the_constant_map_says_the_commonest_class_everywhere(drawn):
    truth, predicted, classes = drawn
    measured = scores(confusion(truth, predicted, classes))
    counts = [int((truth == label).sum()) for label in range(classes)]
    assert measured.commonest == counts.index(max(counts))
    constant = constant_scores(measured)
    expected = by_visiting_pixels(truth, np.full_like(truth, measured.commonest), classes)
    for key, values in expected.items():
        assert_same(constant[key], values)


@given(maps(), st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_where_pixels_are_or_in_which_order_classes(drawn, random):
    truth, predicted, classes = drawn
    result = scores(confusion(truth, predicted, classes))
    order = random.sample(range(classes), classes)
    renamed = [
        np.array([order[x] if x in range(classes) else 255 for x in m.flat]) for m in (truth, predicted)
    ]
    places = random.sample(range(truth.size), truth.size)
    moved = scores(confusion(*(each[places] for each in renamed), classes))
    for metric in METRICS:
        expected = result[metric.key]
        assert_same(
            moved[metric.key][order] if metric.by_class else moved[metric.key],
            np.atleast_1d(expected).tolist(),
        )


@given(matrices(scenes=4), st.integers(0, 2**31), st.integers(1, 40))
def test_each_draw_of_the_bootstrap_scores_as_many_scenes_as_there_are(stack, seed, resamples):
    drawn = Bootstrap(resamples, seed=seed).scores(stack)
    assert drawn["miou"].shape == (resamples,)
    assert drawn["iou"].shape == (resamples, stack.shape[1])
    possible = {}
    for chosen in np.ndindex(4, 4, 4, 4):
        total = stack[list(chosen)].sum(axis=0)
        possible.setdefault(total.tobytes(), total)
    for matrix in drawn.matrix:
        assert np.ascontiguousarray(matrix).astype(np.int64).tobytes() in possible
    again = Bootstrap(resamples, seed=seed).scores(stack)
    np.testing.assert_array_equal(drawn.matrix, again.matrix)


@given(
    st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=1, max_size=60),
    st.floats(0.01, 0.98),
)
def test_an_interval_cuts_off_equal_parts_at_both_ends(values, level):
    low, high = Bootstrap(level=level).interval(np.array(values))
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        assert math.isnan(low)
        assert math.isnan(high)
        return

    def quantile(part: float) -> float:
        place = part * (len(known) - 1)
        before = min(int(place), len(known) - 1)
        after = min(before + 1, len(known) - 1)
        return known[before] + (place - before) * (known[after] - known[before])

    tail = (1 - level) / 2
    np.testing.assert_allclose([low, high], [quantile(tail), quantile(1 - tail)], atol=1e-9)
    wider = Bootstrap(level=level + 0.01).interval(np.array(values))
    assert wider[0] - 1e-12 <= low <= high <= wider[1] + 1e-12


@given(matrices(scenes=3, least=1), st.integers(2, 1000))
def test_an_interval_is_that_of_maps_with_larger_pixels(stack, factor):
    """Every pixel as `factor` smaller ones: no score changes."""
    bootstrap = Bootstrap(50)
    once, more = bootstrap.scores(stack), bootstrap.scores(stack * factor)
    for key in ("miou", "accuracy", "frequency_weighted_iou"):
        np.testing.assert_allclose(bootstrap.interval(more[key]), bootstrap.interval(once[key]))
        assert once[key].min() <= bootstrap.interval(once[key])[0] <= bootstrap.interval(once[key])[1]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80))
def test_the_calibration_error_is_the_mean_gap_over_bins_of_equal_width(pixels):
    confidence, right = (np.array(column) for column in zip(*pixels, strict=True))
    found = Reliability.of(confidence, right)
    bins = [[] for _ in range(BINS)]
    for sure, hit in pixels:
        at = next(number for number in range(BINS) if sure * BINS <= number + 1)
        bins[at].append((sure, hit))
    assert found.pixels.tolist() == [len(members) for members in bins]
    gaps = [
        len(members) * abs(fmean(s for s, _ in members) - fmean(h for _, h in members))
        for members in bins
        if members
    ]
    assert abs(found.ece - sum(gaps) / len(pixels)) < 1e-9
