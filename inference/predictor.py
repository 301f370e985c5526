"""From an image to class probabilities: input scaling, tiles through a net, stitching."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from inference.tiles import cut_tile, default_overlap, stitch, stitched_strips
from prototxt_gen.errors import DFCNetError


class TileNet(Protocol):
    """What predicts tiles: Caffe's net, another engine's, or a stub.

    `side` is the tile's side S in pixels. Called with (N, 3, S, S) float32, (BGR - mean) * scale, it
    returns probabilities (N, C, S, S) float32 that the next call may overwrite.
    """

    side: int

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Return the probabilities of `tiles`."""


def preprocess(tile: np.ndarray, mean: Sequence[float], scale: float) -> np.ndarray:
    """Return (3, S, S) float32, (BGR - mean) * scale, from a (S, S, 3) BGR tile in 0-255."""
    centred = tile.astype(np.float32) - np.asarray(mean, np.float32)
    return (centred * np.float32(scale)).transpose(2, 0, 1)


@dataclass(frozen=True)
class Predictor:
    """A net and how to feed it.

    `mean` is B, G, R in grey levels. `overlap` is what neighbouring tiles share, in pixels (None: a
    quarter of the tile); `batch` is how many tiles the net gets at once.

    An image is (H, W, 3) BGR, 0-255; anything with `shape` that gives an array for a slice will do,
    so a scene on disk need not be in memory.
    """

    net: TileNet
    mean: Sequence[float]
    scale: float
    overlap: int | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        """Refuse an overlap that leaves no step between tiles, with DFCNetError."""
        if not 0 <= self._overlap() < self.net.side:
            raise DFCNetError(
                "overlap",
                f"{self.overlap} pixels do not fit tiles of {self.net.side}",
                f"choose 0 to {self.net.side - 1}",
            )

    def strips(self, image: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (top, probabilities (C, h, W) float32) from top to bottom; see `tiles.stitched_strips`."""
        return stitched_strips(image.shape[:2], self.net.side, self._overlap(), self._answers(image))

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Return the probabilities of each pixel, (C, H, W) float32; they sum to 1 over C."""
        return stitch(image.shape[:2], self.net.side, self._overlap(), self._answers(image))

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Return the likeliest class of each pixel, (H, W) uint8; only a strip of probabilities is kept."""
        labels = np.empty(image.shape[:2], np.uint8)
        for top, strip in self.strips(image):
            labels[top : top + strip.shape[1]] = strip.argmax(axis=0)
        return labels

    def _overlap(self) -> int:
        return default_overlap(self.net.side) if self.overlap is None else self.overlap

    def _answers(self, image: np.ndarray):
        def answers(top: int, lefts: Sequence[int]) -> Iterator[np.ndarray]:
            for first in range(0, len(lefts), self.batch):
                tiles = [self._tile(image, top, left) for left in lefts[first : first + self.batch]]
                yield from self.net(np.stack(tiles))

        return answers

    def _tile(self, image: np.ndarray, top: int, left: int) -> np.ndarray:
        return preprocess(cut_tile(image, top, left, self.net.side), self.mean, self.scale)
