"""Accuracy and areas of any sample, by the paper's equations term by term; who gets how many points."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluation.area_estimation import Estimate, Z, allocate, estimate, sample_size


@st.composite
def samples(draw, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Points (C, C), at least `least` of each class of the map, and the classes' pixels (C,)."""
    classes = draw(st.integers(2, 5))
    counts = draw(arrays(np.int64, (classes, classes), elements=st.integers(0, 30)))
    counts[:, 0] += np.maximum(least - counts.sum(axis=1), 0)
    return counts, draw(arrays(np.int64, classes, elements=st.integers(1, 10**7)))


def by_equations(counts: list[list[int]], pixels: list[int], complete: list[bool]) -> dict:
    """Olofsson et al. (2014), equations 1 to 3, 5 to 7, 9 and 10, in fractions up to the last roots."""
    classes, total = range(len(pixels)), sum(pixels)
    w = [Fraction(count, total) for count in pixels]
    n = [sum(row) for row in counts]
    p = [[Fraction(counts[i][j], n[i]) for j in classes] for i in classes]  # n_ij / n_i.
    v = [[0 if complete[i] else p[i][j] * (1 - p[i][j]) / (n[i] - 1) for j in classes] for i in classes]
    truth = [sum(w[i] * p[i][j] for i in classes) for j in classes]
    producers, producers_error = [], []
    for j in classes:
        if not truth[j]:
            producers.append(math.nan)
            producers_error.append(math.nan)
            continue
        accuracy = w[j] * p[j][j] / truth[j]
        variance = w[j] ** 2 * (1 - accuracy) ** 2 * v[j][j]
        variance += accuracy**2 * sum(w[i] ** 2 * v[i][j] for i in classes if i != j)
        producers.append(accuracy)
        producers_error.append(math.sqrt(variance) / truth[j])
    return {
        "overall": (
            sum(w[i] * p[i][i] for i in classes),
            math.sqrt(sum(w[i] ** 2 * v[i][i] for i in classes)),
        ),
        "users": ([p[i][i] for i in classes], [math.sqrt(v[i][i]) for i in classes]),
        "producers": (producers, producers_error),
        "area": (truth, [math.sqrt(sum(w[i] ** 2 * v[i][j] for i in classes)) for j in classes]),
    }


@given(samples(), st.data())
def test_estimates_are_the_papers_equations_term_by_term(sample, data):
    counts, pixels = sample
    complete = data.draw(st.lists(st.booleans(), min_size=len(pixels), max_size=len(pixels)))
    found = estimate(counts, pixels, np.array(complete))
    for name, (value, error) in by_equations(counts.tolist(), pixels.tolist(), complete).items():
        estimated = getattr(found, name)
        np.testing.assert_allclose(estimated.value, np.array(value, float), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(estimated.standard_error, np.array(error, float), rtol=1e-9, atol=1e-15)
    assert abs(found.matrix.sum() - 1) < 1e-9
    np.testing.assert_allclose(found.matrix.sum(axis=1), pixels / pixels.sum())


def parts(found) -> list[Estimate]:
    return [found.overall, found.users, found.producers, found.area]


@given(samples(), st.floats(1e-3, 1e3))
def test_weights_count_by_their_ratio_alone(sample, factor):
    counts, pixels = sample
    for once, scaled in zip(
        parts(estimate(counts, pixels)), parts(estimate(counts, pixels * factor)), strict=True
    ):
        np.testing.assert_allclose(scaled.value, once.value, rtol=1e-9)
        np.testing.assert_allclose(scaled.standard_error, once.standard_error, rtol=1e-9, atol=1e-15)


@given(samples(), st.randoms(use_true_random=False))
def test_the_order_of_the_classes_does_not_matter(sample, random):
    counts, pixels = sample
    order = random.sample(range(len(pixels)), len(pixels))
    first, second = estimate(counts, pixels), estimate(counts[np.ix_(order, order)], pixels[order])
    np.testing.assert_allclose(second.overall.value, first.overall.value)
    for once, turned in zip(parts(first)[1:], parts(second)[1:], strict=True):
        np.testing.assert_allclose(turned.value, once.value[order], rtol=1e-9)
        np.testing.assert_allclose(turned.standard_error, once.standard_error[order], rtol=1e-9, atol=1e-15)


@given(samples())
def test_points_in_proportion_to_the_area_give_the_shares_of_the_points(sample):
    """A stratum as large as its points are many: the sample is one of the whole map."""
    counts, _ = sample
    found = estimate(counts, counts.sum(axis=1))
    np.testing.assert_allclose(found.overall.value, np.trace(counts) / counts.sum())
    np.testing.assert_allclose(found.area.value, counts.sum(axis=0) / counts.sum())


@given(samples(least=0))
def test_what_cannot_be_estimated_is_not_a_number_and_many_samples_are_each_their_own(sample):
    counts, pixels = sample
    found = estimate(counts, pixels)
    few = counts.sum(axis=1) < 2
    assert np.isnan(found.overall.standard_error) == few.any()
    assert np.isnan(found.users.standard_error).tolist() == few.tolist()
    assert np.isnan(found.users.value).tolist() == (counts.sum(axis=1) == 0).tolist()
    several = estimate(np.stack([counts, counts[::-1]]), pixels)
    alone = estimate(counts[::-1], pixels)
    for once, together in zip(parts(alone), parts(several), strict=True):
        np.testing.assert_array_equal(together.value[1], once.value)
        np.testing.assert_array_equal(together.standard_error[1], once.standard_error)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([1.0, np.inf]), st.floats(0.1, 1e4))
def test_intervals_are_symmetric_but_where_no_value_can_lie(value, error, most, factor):
    low, high = Estimate(np.array(value), np.array(error)).interval(most)
    assert low == max(value - Z * error, 0)
    assert high == min(value + Z * error, most)
    scaled = Estimate(np.array(value), np.array(error)).times(factor)
    assert (scaled.value, scaled.margin) == (value * factor, Z * (error * factor))


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.floats(0.05, 0.95)), min_size=1, max_size=5),
    st.floats(0.005, 0.2),
)
def test_the_sample_size_is_the_smallest_that_reaches_the_standard_error(strata, error):
    """Points in proportion to W_i S_i (Neyman's allocation): the variance of equation 13, written out."""
    pixels, users = zip(*strata, strict=True)
    units = sum(pixels)

    def variance(points: float) -> float:
        spread = [count / units * math.sqrt(u * (1 - u)) for count, u in strata]
        finite = sum(count / units * u * (1 - u) for count, u in strata) / units
        return sum(spread) ** 2 / points - finite

    points = sample_size(pixels, users, error, units)
    assert variance(points) <= error**2 * (1 + 1e-6)
    assert points == 1 or variance(points - 1) >= error**2 * (1 - 1e-6)


@given(st.integers(0, 2000), st.lists(st.integers(0, 5000), min_size=1, max_size=6), st.integers(1, 60))
def test_rare_classes_get_the_least_and_the_others_share_the_rest_by_their_pixels(total, pixels, least):
    assume(any(pixels))
    points = allocate(total, pixels, least)
    assert all(0 <= got <= there for got, there in zip(points, pixels, strict=True))
    assert all(got >= min(least, there) for got, there in zip(points, pixels, strict=True))
    if total <= sum(pixels) and all(there == 0 or there >= least for there in pixels):
        common = [at for at, got in enumerate(points) if got > least]
        if common:
            assert sum(points) == total
        rest = total - least * sum(1 for at, there in enumerate(pixels) if there and at not in common)
        for at in common:
            # `least` may be what a common class's part comes to: then it is one of them.
            assert points[at] <= math.ceil(rest * pixels[at] / sum(pixels[other] for other in common)) + len(
                pixels
            )
    larger = sorted(zip(pixels, points, strict=True))
    assert all(a[1] <= b[1] + 1 for a, b in pairwise(larger))
