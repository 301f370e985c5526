"""Tiles are stitched to what one net over the whole scene would say."""

from itertools import pairwise

import numpy as np
import pytest

from inference.tiles import cut_tile, default_overlap, shares, stitched_strips, taper, tile_starts
from tests.inference.whole_maps import joined


def position_answer(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Answer (2, h, w) by absolute position alone; NaN left of or above the scene never occurs."""
    first = np.sin(rows[:, None] * 0.01) * np.cos(columns[None, :] * 0.013)
    return np.stack([first, rows[:, None] * 1e-3 + columns[None, :] * 2e-3]).astype(np.float32)


def stub(shape: tuple[int, int], side: int):
    """Return a row-of-tiles function that answers NaN outside the scene, so that a leak shows."""

    def answers(top, lefts):
        rows = np.arange(top, top + side, dtype=float)
        rows[rows >= shape[0]] = np.nan
        for left in lefts:
            columns = np.arange(left, left + side, dtype=float)
            columns[columns >= shape[1]] = np.nan
            yield position_answer(rows, columns)

    return answers


SHAPES = [(1, 1), (32, 32), (1024, 1024), (1025, 1025), (1026, 1026), (2448, 2448), (1025, 3000), (3, 2000)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("side, overlap", [(1025, 256), (513, 0), (513, 300)])
def test_stitched_equals_direct(shape, side, overlap):
    direct = position_answer(np.arange(shape[0], dtype=float), np.arange(shape[1], dtype=float))
    stitched = joined(stitched_strips(shape, side, overlap, stub(shape, side)), shape)
    assert stitched.shape == direct.shape
    assert stitched.dtype == np.float32
    np.testing.assert_allclose(stitched, direct, rtol=0, atol=5e-6)


def test_a_tile_that_differs_from_its_neighbour_is_blended_by_the_weights():
    side, overlap, width = 5, 2, 8  # tiles at 0 and 3, pixels 3 and 4 in both

    def answers(top, lefts):
        for left in lefts:
            yield np.full((1, side, side), float(left == 3), np.float32)

    row = joined(stitched_strips((1, width), side, overlap, answers), (1, width))[0, 0]
    # taper of 5 with overlap 2: 1/3 2/3 1 2/3 1/3; pixel 3 is 2/3 : 1/3, pixel 4 is 1/3 : 2/3
    np.testing.assert_allclose(row, [0, 0, 0, 1 / 3, 2 / 3, 1, 1, 1], atol=1e-6)


@pytest.mark.parametrize("length", [1, 32, 33, 34, 64, 65, 66, 100, 257])
@pytest.mark.parametrize("overlap", [0, 1, 8, 31, 32])
def test_tiles_begin_at_0_end_flush_and_share_the_overlap(length, overlap):
    side = 33
    starts = tile_starts(length, side, overlap)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    if length <= side:
        assert starts == [0]
        return
    assert starts[-1] + side == length
    assert all(a + side - b >= overlap for a, b in pairwise(starts))


def test_no_tile_more_than_needed():
    assert tile_starts(2448, 1025, 0) == [0, 711, 1423]
    assert len(tile_starts(2448, 1025, default_overlap(1025))) == 3


@pytest.mark.parametrize("overlap", [-1, 33, 40])
def test_an_overlap_that_leaves_no_step_is_refused(overlap):
    with pytest.raises(ValueError, match="overlap"):
        tile_starts(100, 33, overlap)


@pytest.mark.parametrize("overlap", [0, 1, 16, 32])
def test_the_taper_is_positive_symmetric_and_at_most_1(overlap):
    weights = taper(33, overlap)
    assert weights.min() > 0
    assert weights.max() == 1 or overlap > 16
    np.testing.assert_array_equal(weights, weights[::-1])


@pytest.mark.parametrize("length", [1, 33, 50, 200])
def test_shares_sum_to_1_at_each_pixel(length):
    total = np.zeros(length)
    for start, weights in shares(length, 33, 8):
        assert weights.min() > 0
        total[start : start + 33] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_strips_come_in_order_and_cover_each_row_once_without_the_whole_scene_in_memory():
    shape, side = (200, 70), 33
    strips = list(stitched_strips(shape, side, 8, stub(shape, side)))
    assert len(strips) > 1
    row = 0
    for top, strip in strips:
        assert top == row
        assert strip.shape[1] <= side
        row += strip.shape[1]
    assert row == shape[0]


def test_a_tile_inside_the_image_is_cut_as_it_is():
    image = np.arange(50 * 60 * 3, dtype=np.uint32).reshape(50, 60, 3)
    np.testing.assert_array_equal(cut_tile(image, 4, 7, 33), image[4:37, 7:40])


def test_a_tile_over_the_border_is_mirrored():
    image = np.array([[[1], [2], [3]]])
    assert cut_tile(image, 0, 0, 5)[:, :, 0].tolist() == [[1, 2, 3, 3, 2]] * 5
