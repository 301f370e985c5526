"""Scenes of any size through a net of one size: overlapping tiles, tapered weights, averaged answers.

Tiles lie on a product grid and the weights are a product of a row and a column profile. So the sum
of weights over a pixel is a product too: the profiles are divided by their sums once, and no map of
weights is kept. Memory: C * S * W floats for the strip under work, where S is the tile's side and W
the scene's width.
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
    (C, side, side); what sticks out of the scene is dropped unread. The strips cover each row once;
    one is a view of the buffer, valid until the next is asked for.
    """
    height, width = shape
    rows, columns = shares(height, side, overlap), shares(width, side, overlap)
    ends = [start for start, _ in rows[1:]] + [height]
    lefts = [left for left, _ in columns]
    buffer = None
    for (top, row_weights), end in zip(rows, ends, strict=True):
        for (left, weights), tile in zip(columns, answers(top, lefts), strict=True):
            if buffer is None:
                buffer = np.zeros((len(tile), min(side, height), width), np.float32)
            inside = tile[:, : len(row_weights), : len(weights)]
            buffer[:, : len(row_weights), left : left + len(weights)] += inside * (
                row_weights[:, None] * weights
            )
        done = end - top
        yield top, buffer[:, :done]
        # What the next row of tiles reaches into moves up; the rest begins at 0.
        kept = buffer.shape[1] - done
        buffer[:, :kept] = buffer[:, done:]
        buffer[:, kept:] = 0


def averaged_strips(streams: Sequence[Iterator[tuple[int, np.ndarray]]]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (top, strip), the mean of several streams of strips over the same scene.

    Strips of the streams may be of different heights; no more than one of each is held.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    row, parts = 0, [np.empty((0, 0, 0), np.float32)] * len(streams)
    while True:
        for i, stream in enumerate(streams):
            if not parts[i].shape[1]:
                _, parts[i] = next(stream, (row, None))
        if parts[0] is None:
            return
        height = min(part.shape[1] for part in parts)
        mean = parts[0][:, :height].copy()
        for part in parts[1:]:
            mean += part[:, :height]
        mean /= len(parts)
        yield row, mean
        row += height
        parts = [part[:, height:] for part in parts]


def cut_tile(image: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """Return the (side, side, ...) part of `image` from (top, left), mirrored where it sticks out.

    Mirrored pixels give the net a plausible surrounding; the answers there are dropped.
    """
    part = image[top : top + side, left : left + side]
    missing = [(0, side - part.shape[0]), (0, side - part.shape[1])]
    if missing == [(0, 0), (0, 0)]:
        return part
    return np.pad(part, missing + [(0, 0)] * (image.ndim - 2), mode="symmetric")
