"""Scenes of any size through a net of one size: overlapping tiles, tapered weights, averaged answers.

Tiles lie on a product grid and the weights are a product of a row and a column profile. So the sum
of weights over a pixel is a product too: the profiles are divided by their sums once, and no map of
weights is kept. Memory: C * S * W floats for the strip under work, where S is the tile's side and W
the scene's width; `stitch` adds the C * H * W floats of the result.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

# The answers to the tiles of one row: (top, lefts) -> one (C, S, S) float array per left, in order.
RowOfTiles = Callable[[int, Sequence[int]], Iterable[np.ndarray]]


def default_overlap(side: int) -> int:
    """Return a quarter of the tile: 2448 pixels then take three tiles of 1025, as without overlap."""
    return side // 4


def tile_starts(length: int, side: int, overlap: int) -> list[int]:
    """Return the first pixels of the tiles along one axis of `length` pixels.

    Neighbours share at least `overlap` pixels (0 <= overlap < side). The first tile begins at 0, the
    last ends flush with the border, those between are spread evenly. A scene shorter than a tile
    has one tile, which sticks out at its end.
    """
    if not 0 <= overlap < side:
        raise ValueError(f"overlap {overlap} is not in 0 ... {side - 1}")
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [(i * (length - side)) // (count - 1) for i in range(count)]


def taper(side: int, overlap: int) -> np.ndarray:
    """Return a tile's weights along one axis, (side,) float64 in (0, 1]: 1 within, a ramp at each end.

    The ramp is as long as the overlap, so that a tile fades out while its neighbour fades in; it
    never reaches 0, since at a scene's border there is no neighbour.
    """
    edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
    return np.minimum(edge / (overlap + 1), 1.0)


def shares(length: int, side: int, overlap: int) -> list[tuple[int, np.ndarray]]:
    """Return (start, weights) of the tiles along one axis.

    The weights, float32, are cut to the scene and sum to 1 at each of its pixels over all tiles.
    """
    profile = taper(side, overlap)
    starts = tile_starts(length, side, overlap)
    total = np.zeros(length)
    for start in starts:
        total[start : start + side] += profile[: length - start]
    return [
        (start, (profile[: length - start] / total[start : start + side]).astype(np.float32))
        for start in starts
    ]


def stitched_strips(
    shape: tuple[int, int], side: int, overlap: int, answers: RowOfTiles
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (top, strip) from top to bottom, each strip (C, h, W) float32, as soon as no tile adds to it.

    `shape` is the scene's (H, W) in pixels. `answers(top, lefts)` gives a row of tiles, each
    (C, side, side); what sticks out of the scene is dropped unread. The strips cover each row once.
    """
    height, width = shape
    rows, columns = shares(height, side, overlap), shares(width, side, overlap)
    ends = [start for start, _ in rows[1:]] + [height]
    carried = None  # the part of the last row of tiles that the next one reaches into
    for (top, row_weights), end in zip(rows, ends, strict=True):
        strip = None
        lefts = [left for left, _ in columns]
        for (left, weights), tile in zip(columns, answers(top, lefts), strict=True):
            if strip is None:
                strip = np.zeros((len(tile), len(row_weights), width), np.float32)
                if carried is not None:
                    strip[:, : carried.shape[1]] = carried
            inside = tile[:, : len(row_weights), : len(weights)]
            strip[:, :, left : left + len(weights)] += inside * (row_weights[:, None] * weights)
        yield top, strip[:, : end - top]
        carried = strip[:, end - top :]


def stitch(shape: tuple[int, int], side: int, overlap: int, answers: RowOfTiles) -> np.ndarray:
    """Return the whole answer, (C, H, W) float32; arguments as in `stitched_strips`."""
    result = None
    for top, strip in stitched_strips(shape, side, overlap, answers):
        if result is None:
            result = np.empty((len(strip), *shape), np.float32)
        result[:, top : top + strip.shape[1]] = strip
    return result


def cut_tile(image: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """Return the (side, side, ...) part of `image` from (top, left), mirrored where it sticks out.

    Mirrored pixels give the net a plausible surrounding; the answers there are dropped.
    """
    part = image[top : top + side, left : left + side]
    missing = [(0, side - part.shape[0]), (0, side - part.shape[1])]
    if missing == [(0, 0), (0, 0)]:
        return part
    return np.pad(part, missing + [(0, 0)] * (image.ndim - 2), mode="symmetric")
