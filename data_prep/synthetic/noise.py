"""Random fields and line patterns that the synthetic scenes are made of; maps are float32 (size, size)."""

import cv2
import numpy as np

RESOLUTION = 4  # steps per pixel of the look-up tables along a line pattern


def smooth(rng: np.random.Generator, size: int, cell: float) -> np.ndarray:
    """Return noise whose bumps are about `cell` pixels wide; mean 0, deviation 1 before interpolation."""
    # The grid covers whole cells and is cut afterwards; warpAffine would be shorter, but it places
    # its samples on a raster of 1/32 cell, which shows as steps.
    nodes = int(np.ceil(size / cell)) + 2
    grid = rng.standard_normal((nodes, nodes), dtype=np.float32)
    length = int(np.ceil(nodes * cell))
    wide = cv2.resize(grid, (length, length), interpolation=cv2.INTER_CUBIC)
    top, left = rng.integers(length - size + 1, size=2)
    return wide[top : top + size, left : left + size]


def fractal(rng: np.random.Generator, size: int, cell: float, octaves: int = 4) -> np.ndarray:
    """Return a sum of smooth noises, each of half the size of the one before; deviation about 1."""
    total = sum(smooth(rng, size, max(cell / 2**k, 1.5)) * np.float32(0.5**k) for k in range(octaves))
    return total * np.float32(0.9)


def grain(rng: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    """Return white noise blurred by `sigma` pixels (0.8 or more), deviation about 1."""
    white = rng.standard_normal((size, size), dtype=np.float32)
    blurred = cv2.GaussianBlur(white, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    blurred *= np.float32(2 * np.sqrt(np.pi) * sigma)  # the blur divides the deviation by this
    return blurred


def relief(height: np.ndarray) -> np.ndarray:
    """Return how bright a surface looks with the sun in the upper left: deviation 1."""
    slope = cv2.filter2D(height, -1, np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]], np.float32))
    return -slope / max(float(slope.std()), 1e-6)


def shifted(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Return `mask` moved down and right, as shadows fall with the sun in the upper left."""
    moved = np.zeros_like(mask)
    moved[pixels:, pixels:] = mask[:-pixels, :-pixels]
    return moved


def crossing_line(rng: np.random.Generator, size: int, wiggle: float, cell: float) -> np.ndarray:
    """Return the rough signed distance, in pixels, to a curve that crosses the scene near its middle."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    start = rng.uniform(0.3, 0.7, 2) * size
    across = (x - start[0]) * np.float32(np.cos(angle)) + (y - start[1]) * np.float32(np.sin(angle))
    return across + smooth(rng, size, cell) * np.float32(wiggle)


class Lines:
    """Parallel lines at random distances, on an axis that reaches from -reach to reach pixels."""

    def __init__(self, rng: np.random.Generator, reach: float, step: tuple[float, float]) -> None:
        count = int(2 * reach / step[0]) + 3
        self.places = np.cumsum(rng.uniform(*step, count)) - reach - step[1]
        self.places = self.places[self.places < reach + step[1]]
        self.reach = reach

    def every(self, keep: np.ndarray) -> "Lines":
        """Return the lines for which `keep`, a mask over `places`, is true."""
        kept = object.__new__(Lines)
        kept.places, kept.reach = self.places[keep], self.reach
        return kept

    def _look_up(self, table: np.ndarray, at: np.ndarray) -> np.ndarray:
        index = ((at + self.reach) * RESOLUTION).astype(np.int32)
        return table[np.clip(index, 0, len(table) - 1)]

    def _axis(self) -> np.ndarray:
        return (np.arange(int(2 * self.reach * RESOLUTION)) + 0.5) / RESOLUTION - self.reach

    def index(self, at: np.ndarray) -> np.ndarray:
        """Return the number of the gap between two lines that each coordinate lies in."""
        return self._look_up(np.searchsorted(self.places, self._axis()), at)

    def distance(self, at: np.ndarray) -> np.ndarray:
        """Return the distance to the nearest line; far away where there are none."""
        gaps = np.abs(self._axis()[:, None] - np.append(self.places, 9 * self.reach)[None])
        return self._look_up(gaps.min(axis=1).astype(np.float32), at)
