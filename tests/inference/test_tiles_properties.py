"""Tiles, their weights and what is stitched of them, for any size of scene, tile and overlap."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inference.predictor import NormalizedNet, Predictor, resized
from inference.tiles import averaged_strips, cut_tile, default_overlap, shares, stitched_strips, tile_starts
from tests.inference.whole_maps import joined, probabilities


@st.composite
def tilings(draw, most: int = 40) -> tuple[int, int]:
    """A tile's side, and an overlap that leaves a step."""
    side = draw(st.integers(1, most))
    return side, draw(st.integers(0, side - 1))


lengths = st.integers(1, 130)
shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def ramp(pixel: int, side: int, overlap: int) -> float:
    """The weight of one pixel of a tile: its place on the ramp from the nearer end."""
    return min(1, (min(pixel, side - 1 - pixel) + 1) / (overlap + 1))


@given(lengths, tilings())
def test_tiles_cover_an_axis_evenly_and_no_fewer_would(length, tiling):
    side, overlap = tiling
    starts = tile_starts(length, side, overlap)
    assert starts[0] == 0
    covered = {pixel for start in starts for pixel in range(start, start + side)}
    assert covered >= set(range(length))
    steps = [after - before for before, after in pairwise(starts)]
    assert all(0 < step <= side - overlap for step in steps)
    assert max(steps, default=0) - min(steps, default=0) <= 1
    assert starts[-1] + side == max(length, side)
    fewer = len(starts) - 1
    assert not fewer or fewer * side - (fewer - 1) * overlap < length


def test_a_quarter_of_a_tile_overlaps_by_default():
    assert [default_overlap(side) for side in (1, 4, 33, 1025)] == [0, 1, 8, 256]


@given(lengths, tilings())
def test_weights_are_the_ramps_over_their_sum_at_each_pixel(length, tiling):
    side, overlap = tiling
    parts = shares(length, side, overlap)
    starts = [start for start, _ in parts]
    assert starts == tile_starts(length, side, overlap)
    total = np.zeros(length)
    for start, weights in parts:
        assert weights.dtype == np.float32
        assert len(weights) == min(side, length - start)
        total[start : start + side] += weights
        for pixel, weight in enumerate(weights.tolist(), start):
            tiles = [ramp(pixel - other, side, overlap) for other in starts if 0 <= pixel - other < side]
            assert abs(weight - ramp(pixel - start, side, overlap) / sum(tiles)) < 1e-6
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(shapes, tilings(20), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_stitching_is_the_weighted_mean_of_the_tiles_over_each_pixel(shape, tiling, classes, seed):
    """Tiles that contradict each other, NaN outside of the scene; the mean in two dimensions at once."""
    side, overlap = tiling
    rng = np.random.default_rng(seed)
    profile = np.array([ramp(pixel, side, overlap) for pixel in range(side)])
    sums, weights = np.zeros((classes, *shape)), np.zeros(shape)

    def answers(top, lefts):
        for left in lefts:
            tile = rng.random((classes, side, side)).astype(np.float32)
            height, width = min(side, shape[0] - top), min(side, shape[1] - left)
            weight = np.outer(profile, profile)[:height, :width]
            sums[:, top : top + side, left : left + side] += tile[:, :height, :width] * weight
            weights[top : top + side, left : left + side] += weight
            tile[:, height:], tile[:, :, width:] = np.nan, np.nan
            yield tile

    stitched = joined(stitched_strips(shape, side, overlap, answers), shape)
    assert stitched.dtype == np.float32
    np.testing.assert_allclose(stitched, sums / weights, atol=1e-5)


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=6), min_size=1, max_size=4))
def test_streams_of_different_strips_are_averaged_row_by_row(cuts):
    height = max(map(sum, cuts))
    maps = np.random.default_rng(len(cuts)).random((len(cuts), 2, height, 3)).astype(np.float32)

    def stream(whole, heights):
        row = 0
        for part in (*heights, height):
            if row < height:
                yield row, whole[:, row : row + part].copy()
                row += part

    streams = [stream(whole, heights) for whole, heights in zip(maps, cuts, strict=True)]
    averaged = joined(averaged_strips(streams), (height, 3))
    np.testing.assert_allclose(averaged, maps.mean(axis=0), rtol=1e-6)


@given(shapes, st.integers(0, 39), st.integers(0, 39), st.integers(1, 60))
def test_a_cut_tile_is_the_image_and_its_mirror_image_by_turns(shape, top, left, side):
    top, left = min(top, shape[0] - 1), min(left, shape[1] - 1)
    image = np.arange(shape[0] * shape[1]).reshape(*shape, 1)

    def mirrored(pixel: int, length: int) -> int:
        """Beyond the end the last pixels come again, backwards, then forwards ..."""
        turn, place = divmod(pixel, length)
        return length - 1 - place if turn % 2 else place

    rows, columns = (
        [start + mirrored(pixel, length - start) for pixel in range(side)]
        for start, length in ((top, shape[0]), (left, shape[1]))
    )
    np.testing.assert_array_equal(cut_tile(image, top, left, side), image[np.ix_(rows, columns)])
    np.testing.assert_array_equal(
        cut_tile(image[..., 0], top, left, side), image[np.ix_(rows, columns)][..., 0]
    )


def resampling(size: int, side: int) -> np.ndarray:
    """The weights (side, size) of pixels: by the length they share with a larger one, else linear."""
    matrix, step = np.zeros((side, size)), size / side
    for row in range(side):
        if side < size:
            for pixel in range(size):
                common = min((row + 1) * step, pixel + 1) - max(row * step, pixel)
                matrix[row, pixel] = max(common, 0) / step
        else:
            place = min(max((row + 0.5) * step - 0.5, 0), size - 1)
            before = min(int(place), size - 1)
            matrix[row, before] += 1 - (place - before)
            matrix[row, min(before + 1, size - 1)] += place - before
    return matrix


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 6))
def test_resizing_takes_areas_where_it_shrinks_and_lines_where_it_enlarges(size, side, bands):
    pixels = np.random.default_rng(size * side).random((size, size, bands)).astype(np.float32)
    weights = resampling(size, side)
    expected = np.einsum("rh,hwc,sw->rsc", weights, pixels, weights)
    np.testing.assert_allclose(resized(pixels, side), expected, atol=2e-3)


class PixelNet:
    """Answers each pixel by its own value alone."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        share = tiles.mean(axis=1) / 255
        return np.stack([share, 1 - share], axis=1)


@given(
    shapes,
    tilings(24),
    st.lists(st.sampled_from([0.5, 0.75, 1.0, 1.3, 2.0]), min_size=1, max_size=3, unique=True),
    st.booleans(),
    st.integers(1, 4),
)
def test_probabilities_cover_a_scene_and_sum_to_1_at_any_scale_and_batch(shape, tiling, scales, flip, batch):
    side, overlap = tiling
    image = np.random.default_rng(side).integers(0, 256, (*shape, 3)).astype(np.uint8)
    net = NormalizedNet(PixelNet(side), (0, 0, 0), 1.0)
    answer = probabilities(Predictor([net], overlap, batch, scales, flip), image)
    np.testing.assert_allclose(answer.sum(axis=0), 1, atol=1e-4)
    assert answer.min() >= -1e-5
    mean = image.mean(axis=2) / 255
    assert mean.min() - 1e-4 <= answer[0].min() <= answer[0].max() <= mean.max() + 1e-4
    if scales == [1.0]:
        np.testing.assert_allclose(answer[0], mean, atol=1e-5)
