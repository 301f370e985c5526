"""From an image to class probabilities: input scaling, tiles through nets, scales, flips, stitching."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from common.errors import DFCNetError
from inference.tiles import averaged_strips, cut_tile, default_overlap, stitched_strips

SCALES = (0.1, 10.0)  # beyond, nothing of the image or nothing but it is left


class TileNet(Protocol):
    """What predicts tiles: Caffe's net, another backend's, or a stub.

    `side` is the tile's side S in pixels. Called with (N, bands, S, S) float32, (bands - mean) * scale, it
    returns probabilities (N, C, S, S) float32 that the next call may overwrite.
    """

    side: int

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Return the probabilities of `tiles`."""


def preprocess(tile: np.ndarray, mean: Sequence[float], scale: float) -> np.ndarray:
    """Return (bands, S, S) float32, (bands - mean) * scale, from a (S, S, bands) tile in 0-255."""
    centred = tile.astype(np.float32) - np.asarray(mean, np.float32)
    return (centred * np.float32(scale)).transpose(2, 0, 1)


@dataclass(frozen=True)
class NormalizedNet:
    """A net, and the mean (of each band, in grey levels) and scale of its input."""

    net: TileNet
    mean: Sequence[float]
    scale: float

    def __call__(self, tiles: Sequence[np.ndarray]) -> np.ndarray:
        """Return the probabilities (N, C, S, S) of tiles (S, S, bands) in 0-255."""
        return self.net(np.stack([preprocess(tile, self.mean, self.scale) for tile in tiles]))


def check_scales(scales: Sequence[float]) -> None:
    """Raise DFCNetError for scales out of range, given twice, or none at all."""
    for scale in scales:
        if not SCALES[0] <= scale <= SCALES[1]:
            raise DFCNetError("scales", f"{scale:g} is out of range", "give numbers from 0.1 to 10")
    if not scales or len(set(scales)) < len(scales):
        numbers = " ".join(f"{scale:g}" for scale in scales) or "empty"
        raise DFCNetError("scales", f"are {numbers}", "give each scale once")


@dataclass(frozen=True)
class Predictor:
    """Nets of one side and the same classes.

    `overlap` is what neighbouring tiles share, in pixels (None: a quarter of the tile); `batch` is how many
    tiles a net gets at once. The answers of all nets at each of `scales`, with `flip` also those to the
    mirrored image, are averaged with equal weights, as in the paper's test (section 3.3).

    An image is (H, W, bands), 0-255; anything with `shape` that gives an array for a slice of rows
    will do, so a scene on disk need not be in memory.
    """

    nets: Sequence[NormalizedNet]
    overlap: int | None = None
    batch: int = 1
    scales: Sequence[float] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        """Refuse, with DFCNetError, an overlap that leaves no step between tiles, and wrong numbers."""
        if not 0 <= self.shared < self.side:
            fact = f"{self.overlap} pixels do not fit tiles of {self.side}"
            raise DFCNetError("overlap", fact, f"choose 0 to {self.side - 1}")
        if self.batch < 1:
            raise DFCNetError("batch", f"is {self.batch}", "give 1 or more tiles")
        check_scales(self.scales)

    @property
    def side(self) -> int:
        """The tile's side in pixels."""
        return self.nets[0].net.side

    @property
    def shared(self) -> int:
        """What neighbouring tiles share, in pixels of a tile."""
        return default_overlap(self.side) if self.overlap is None else self.overlap

    def strips(self, image: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (top, probabilities (C, h, W) float32) from top to bottom; see `tiles.stitched_strips`."""
        return averaged_strips([self._strips_at(scale, image) for scale in self.scales])

    def _strips_at(self, scale: float, image: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Predict at one scale: windows of side / scale pixels are resized to the net's side, and back.

        So tiles are cut, answered and stitched in the image's own pixels, whatever the scale.
        """
        side = max(1, round(self.side / scale))
        overlap = min(round(self.shared / scale), side - 1)

        def answers(top: int, lefts: Sequence[int]) -> Iterator[np.ndarray]:
            band = image[top : top + side]
            for first in range(0, len(lefts), self.batch):
                tiles = [cut_tile(band, 0, left, side) for left in lefts[first : first + self.batch]]
                for answer in self._average([resized(tile, self.side) for tile in tiles]):
                    yield resized(answer.transpose(1, 2, 0), side).transpose(2, 0, 1)

        return stitched_strips(image.shape[:2], side, overlap, answers)

    def _average(self, tiles: list[np.ndarray]) -> np.ndarray:
        """Return the probabilities (N, C, S, S) of tiles (S, S, bands), averaged over nets and flips."""
        if len(self.nets) == 1 and not self.flip:
            return self.nets[0](tiles)
        total = 0
        for net in self.nets:
            total = total + net(tiles)
            if self.flip:
                total += net([tile[:, ::-1] for tile in tiles])[..., ::-1]
        return total / (len(self.nets) * (1 + self.flip))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the softmax of logits / temperature from the softmax of logits, (C, ...) float32.

    So p ** (1 / T), made to sum to 1 (Guo et al., 2017, "On Calibration of Modern Neural Networks", 4.2): the
    order of the classes stays, but two that are as good as equal may become equal.
    """
    powers = (probabilities / probabilities.max(axis=0)) ** np.float32(1 / temperature)
    return powers / powers.sum(axis=0)


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return (side, side, C) of a square (S, S, C): area averages where it shrinks, else bilinear.

    As data preparation resizes: centres of pixels are aligned, and sums over C stay what they are.
    """
    if pixels.shape[0] == side:
        return pixels
    method = cv2.INTER_AREA if side < pixels.shape[0] else cv2.INTER_LINEAR
    planes = [
        cv2.resize(np.ascontiguousarray(plane, np.float32), (side, side), interpolation=method)
        for plane in np.moveaxis(pixels, -1, 0)
    ]
    return np.stack(planes, axis=-1)
