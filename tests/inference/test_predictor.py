"""From image to probabilities with stub nets."""

import numpy as np
import pytest

from common.errors import DFCNetError
from inference.predictor import NormalizedNet, Predictor, preprocess
from tests.inference.whole_maps import probabilities


def coded_image(height: int, width: int) -> np.ndarray:
    """Return an image whose pixels spell their own position: 12 bits of row, 12 of column."""
    code = np.arange(height, dtype=np.uint32)[:, None] << 12 | np.arange(width, dtype=np.uint32)
    return np.stack([code >> 16, code >> 8 & 255, code & 255], axis=-1).astype(np.uint8)


class PositionNet:
    """Answers two classes by the position that the pixels spell, and by nothing else."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.batches = []

    def __call__(self, tiles):
        assert tiles.dtype == np.float32
        assert tiles.shape[1:] == (3, self.side, self.side)
        self.batches.append(len(tiles))
        blue, green, red = tiles.transpose(1, 0, 2, 3)
        code = (blue.astype(np.int64) << 16) | (green.astype(np.int64) << 8) | red.astype(np.int64)
        return self.at(code >> 12, code & 4095)

    @staticmethod
    def at(rows, columns):
        share = 0.5 + 0.5 * np.sin(rows * 0.01) * np.cos(columns * 0.02)
        return np.stack([share, 1 - share], axis=-3).astype(np.float32)


def as_it_is(net) -> NormalizedNet:
    return NormalizedNet(net, mean=(0, 0, 0), scale=1.0)


SIZES = [(1, 1), (32, 32), (1024, 1024), (1025, 1025), (1026, 1026), (2448, 2448), (1025, 3000)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_an_answer_by_position_survives_tiling(size):
    predictor = Predictor([as_it_is(PositionNet(1025))])
    answer = probabilities(predictor, coded_image(*size))
    rows, columns = np.indices(size, sparse=True)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, PositionNet.at(rows, columns), rtol=0, atol=2e-6)


@pytest.mark.parametrize("batch, batches", [(1, [1] * 9), (2, [2, 1] * 3), (8, [3] * 3)])
def test_tiles_of_a_row_go_to_the_net_in_batches(batch, batches):
    net = PositionNet(33)
    predictor = Predictor([as_it_is(net)], overlap=0, batch=batch)
    alone = Predictor([as_it_is(PositionNet(33))], overlap=0)
    image = coded_image(90, 90)
    np.testing.assert_array_equal(probabilities(predictor, image), probabilities(alone, image))
    assert net.batches == batches


def test_a_net_that_reuses_its_output_does_no_harm():
    class Reusing(PositionNet):
        answer = None

        def __call__(self, tiles):
            fresh = super().__call__(tiles)
            if self.answer is None or self.answer.shape != fresh.shape:
                self.answer = fresh
            self.answer[...] = fresh
            return self.answer

    image = coded_image(100, 150)
    reusing = probabilities(Predictor([as_it_is(Reusing(33))], batch=2), image)
    fresh = probabilities(Predictor([as_it_is(PositionNet(33))]), image)
    np.testing.assert_array_equal(reusing, fresh)


def test_pixels_become_bgr_minus_mean_times_scale():
    tile = np.array([[[10, 20, 30], [255, 0, 128]]], np.uint8)
    result = preprocess(tile, mean=(1.5, 2, 3), scale=0.5)
    assert result.dtype == np.float32
    assert result.tolist() == [[[4.25, 126.75]], [[9, -1]], [[13.5, 62.5]]]


@pytest.mark.parametrize("overlap", [-1, 33, 500])
def test_an_overlap_that_is_no_part_of_a_tile_is_named(overlap):
    with pytest.raises(DFCNetError, match=rf"overlap.*{overlap}.*0 to 32"):
        Predictor([as_it_is(PositionNet(33))], overlap=overlap)
