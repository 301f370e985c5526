"""The worked example of Olofsson et al. (2014), equations written out by hand, and simulated samples."""

import numpy as np
import pytest

from evaluation.area_estimation import allocate, estimate, sample_size

# Table 8: deforestation, forest gain, stable forest, stable non-forest; areas in pixels of 30 m.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES = 0.09  # of a pixel


def test_the_papers_example_comes_out_to_its_printed_digits():
    found = estimate(COUNTS, PIXELS)
    shares = [[0.0176, 0, 0.0013, 0.0011], [0, 0.0110, 0.0016, 0.0024]]
    shares += [[0.0019, 0, 0.2967, 0.0213], [0.0040, 0.0020, 0.0179, 0.6212]]
    assert found.matrix.round(4).tolist() == shares
    assert (found.overall.value.round(2), found.overall.margin.round(2)) == (0.95, 0.02)
    assert found.users.value.round(2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert found.users.margin.round(2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert found.producers.value.round(2).tolist() == [0.75, 0.85, 0.93, 0.96]
    # Equation 7 gives what the R package mapaccuracy gives of this example, an implementation of its own.
    independent = [0.21330593, 0.25440369, 0.03432379, 0.01836120]
    assert found.producers.margin.tolist() == pytest.approx(independent, rel=1e-4)
    pixels = found.area.times(PIXELS.sum())
    assert (round(pixels.value[0]), round(pixels.margin[0])) == (235_086, 68_418)
    area = found.area.times(PIXELS.sum() * HECTARES)
    assert area.value.round().tolist() == [21_158, 11_686, 285_770, 581_386]
    assert area.margin.round().tolist() == [6_158, 3_756, 15_510, 16_282]
    assert found.area.standard_error[0].round(4) == 0.0035


def test_producers_accuracy_is_equation_7_term_by_term():
    found = estimate(COUNTS, PIXELS)
    points, q = COUNTS.sum(axis=1), range(4)
    for j in q:
        truth = sum(PIXELS[i] * COUNTS[i, j] / points[i] for i in q)
        users, producers = COUNTS[j, j] / points[j], PIXELS[j] * COUNTS[j, j] / points[j] / truth
        variance = PIXELS[j] ** 2 * (1 - producers) ** 2 * users * (1 - users) / (points[j] - 1)
        for i in q:
            if i != j:
                part = COUNTS[i, j] / points[i]
                variance += producers**2 * PIXELS[i] ** 2 * part * (1 - part) / (points[i] - 1)
        assert found.producers.value[j] == pytest.approx(producers)
        assert found.producers.standard_error[j] == pytest.approx(np.sqrt(variance) / truth)


def test_a_large_stratum_leaves_the_digits_of_small_ones_in_producers_accuracy():
    """Each part 1/2 with a variance of 1/4, the weights 10^8 : 1. Equation 7 gives sqrt(a^2 / 2) / t."""
    found = estimate([[1, 1], [1, 1]], [10**8, 1])
    truth = (10**8 + 1) / 2
    others = 0.5 / truth  # 1 - P of the first class, and P of the second
    expected = np.sqrt(
        [(others * 10**8) ** 2 / 4 + (1 - others) ** 2 / 4, (1 - others) ** 2 / 4 + (others * 10**8) ** 2 / 4]
    )
    assert found.producers.standard_error.tolist() == pytest.approx((expected / truth).tolist(), rel=1e-12)


def test_intervals_of_simulated_samples_cover_the_truth():
    """2,000 samples, without replacement, of a map whose truth is known at every pixel.

    Of user's accuracies from 0.8 to 0.86: nearer to 1, 200 points are too few for a symmetric interval.
    """
    truth = np.array([[42_000, 5_000, 3_000], [10_000, 80_000, 10_000], [15_000, 25_000, 210_000]])
    random = np.random.default_rng(1)
    rows = [random.multivariate_hypergeometric(row, 200, size=2_000) for row in truth]
    found = estimate(np.stack(rows, axis=1), truth.sum(axis=1))
    total = truth.sum()
    right = np.diagonal(truth)
    known = [
        (found.overall, right.sum() / total),
        (found.users, right / truth.sum(axis=1)),
        (found.producers, right / truth.sum(axis=0)),
        (found.area, truth.sum(axis=0) / total),
    ]
    for estimated, value in known:
        covered = np.abs(estimated.value - value) <= estimated.margin
        assert ((covered.mean(axis=0) >= 0.93) & (covered.mean(axis=0) <= 0.97)).all(), covered.mean(axis=0)
    assert np.abs(found.area.value.mean(axis=0) - known[3][1]).max() < 0.001  # unbiased


def test_a_stratum_of_which_every_pixel_is_in_the_sample_is_known_without_error():
    found = estimate([[1, 0], [5, 35]], [1, 999], complete=[True, False])
    assert found.users.standard_error[0] == 0
    assert found.area.standard_error[1] == pytest.approx(0.999 * np.sqrt(5 / 40 * 35 / 40 / 39))


def test_a_class_that_the_map_lacks_has_an_area_and_no_users_accuracy():
    found = estimate([[8, 0, 2], [0, 9, 1], [0, 0, 0]], [100, 300, 0])
    assert found.area.value.tolist() == pytest.approx([0.2, 0.675, 0.125])
    assert np.isnan(found.users.value[2])
    assert (found.producers.value[2], found.area.standard_error[2] > 0) == (0, True)


def test_a_single_point_of_a_stratum_gives_no_standard_error():
    found = estimate([[8, 2], [0, 1]], [1, 1])
    assert np.isnan(found.overall.standard_error)
    assert np.isnan(found.area.standard_error).all()
    assert found.area.value.tolist() == pytest.approx([0.4, 0.6])


def test_the_papers_sample_size_and_allocation():
    """641 points for a standard error of 0.01; of 75 at least, the rest by area (section 5.1)."""
    assert sample_size(PIXELS, (0.7, 0.6, 0.9, 0.95), 0.01, PIXELS.sum()) == 641
    # 491 points are left: 491 * 3,200 / 9,650 = 162.8 and 491 * 6,450 / 9,650 = 328.2.
    assert allocate(641, PIXELS, 75) == [75, 75, 163, 328]


def test_a_small_map_needs_fewer_points():
    """Cochran's 5.25 with the finite population: 0.16 / (0.0004 + 0.16 / 1,000)."""
    assert sample_size([1], [0.8], 0.02, 1_000) == 286
    assert sample_size([1], [0.8], 0.02, 10**9) == 400


@pytest.mark.parametrize(
    ("total", "pixels", "least", "points"),
    [
        (100, [500, 500], 10, [50, 50]),
        (100, [10, 990, 0], 30, [10, 70, 0]),  # no more than there are
        (60, [1000, 1000, 1000], 50, [50, 50, 50]),  # more in all than asked for
        (10, [1000, 1000, 1000], 2, [4, 3, 3]),
    ],
)
def test_points_are_shared_among_classes(total, pixels, least, points):
    assert allocate(total, pixels, least) == points
