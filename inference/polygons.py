"""Class map -> polygons: the patches of each class, found strip by strip and joined where strips meet.

Memory is that of a strip and of the patches that reach its lower edge. Within a strip GDAL draws the polygons
(4-connected, as in gdal_polygonize); a patch that reaches over several strips is the union of its pieces.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import shapely
from rasterio.features import shapes, sieve

from common.datasets import IGNORE
from common.staging import staging_directory
from inference.pixel_area import HECTARE, PixelAreas

STRIP = 1 << 21  # pixels that are worked on at once
OUTSIDE = 256  # a label of what lies beyond the map
NODE = (
    3  # borders of classes that meet at a corner of pixels, at least, where polygons have a point in common
)

ReadRows = Callable[[slice], np.ndarray]  # labels of rows, uint8 (h, W)


@dataclass
class Patch:
    """Neighbouring pixels of one class: their number, ground in square metres and mean confidence.

    `confidence` is from 0 to 1, NaN where it is not known. `polygon` is in pixels (column, row).
    """

    label: int
    pixels: int
    square_metres: float
    confidence: float
    polygon: shapely.Polygon

    @property
    def hectares(self) -> float:
        """The ground that its pixels cover."""
        return self.square_metres / HECTARE


@dataclass
class _Part:
    """What has been seen of a patch: sums over its pixels, and the polygons of its pieces."""

    label: int
    pixels: int
    square_metres: float
    confidence: float
    confident: int
    pieces: list[shapely.Polygon]

    def add(self, other: "_Part") -> None:
        """Take another part of the same patch."""
        self.pixels += other.pixels
        self.square_metres += other.square_metres
        self.confidence += other.confidence
        self.confident += other.confident
        self.pieces += other.pieces

    def whole(self, simplified: bool) -> Patch:
        """Return the patch, of which nothing more will come."""
        polygon = self.pieces[0]
        if len(self.pieces) > 1:
            polygon = shapely.union_all(self.pieces)
            if not simplified:  # points that the seams have left on straight borders
                polygon = shapely.simplify(shapely.normalize(polygon), 0)
        confidence = self.confidence / self.confident if self.confident else np.nan
        return Patch(self.label, self.pixels, self.square_metres, confidence, polygon)


@dataclass
class _Seam:
    """The parts that reach the last row seen: their numbers (W,), -1 without data, and its labels."""

    numbers: np.ndarray
    labels: np.ndarray
    parts: dict[int, _Part] = field(default_factory=dict)


def patches(
    read: ReadRows,
    areas: PixelAreas,
    confidence: ReadRows | None = None,
    tolerance: float = 0.0,
    strip: int = STRIP,
) -> Iterator[Patch]:
    """Yield the patches of a map whose rows `read` gives; pixels without data belong to none.

    `confidence` gives rows of the likeliest class's probability, NaN where there is none. With a `tolerance`
    in pixels, the borders are simplified by the method of Visvalingam and Whyatt, once for both neighbours:
    no gaps, no overlaps. Numbers are those of the pixels, whatever is drawn. The `strip` in pixels does not
    matter, but that a simplified border keeps its point where it crosses from one strip to the next.
    """
    height, width = areas.shape
    seam, numbered = _Seam(np.full(width, -1), np.full(width, OUTSIDE)), 0
    for rows in strips(areas.shape, strip):
        labels, beyond = read(rows), np.full(width, OUTSIDE)
        if tolerance and rows.stop < height:
            beyond = read(slice(rows.stop, rows.stop + 1))[0]
        components, component_labels = _components(labels)
        polygons = _polygons(components, len(component_labels), rows.start)
        if tolerance:
            around = np.pad(
                np.vstack([seam.labels, labels, beyond]), ((0, 0), (1, 1)), constant_values=OUTSIDE
            )
            noded = _with_nodes(polygons, _nodes(around), rows.start)
            polygons = shapely.coverage_simplify(noded, tolerance, simplify_boundary=False)
        parts = _parts(
            components, component_labels, polygons, areas.rows(rows), confidence and confidence(rows)
        )
        seam, ended = _join(seam, dict(enumerate(parts, numbered)), components + numbered, labels)
        numbered += len(parts)
        for part in ended:
            yield part.whole(tolerance > 0)
    for part in seam.parts.values():
        yield part.whole(tolerance > 0)


def strips(shape: tuple[int, int], pixels: int = STRIP) -> Iterator[slice]:
    """Yield the rows of strips that cover a map once, from top to bottom, of about so many pixels."""
    rows = max(pixels // shape[1], 1)
    return (slice(top, min(top + rows, shape[0])) for top in range(0, shape[0], rows))


def _components(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each pixel's 4-connected component, int32 (h, W), and each component's label."""
    numbers, of = np.empty(labels.shape, np.int32), []
    for label in np.flatnonzero(np.bincount(labels.ravel())).tolist():
        here = labels == label
        count, found = cv2.connectedComponents(here.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
        numbers[here] = found[here] + (len(of) - 1)
        of += [label] * (count - 1)
    return numbers, np.array(of, np.uint8)


def _polygons(components: np.ndarray, count: int, top: int) -> np.ndarray:
    """Return the polygon of each component, in pixels of the map."""
    numbers, points, counts, rings = [], [], [], []
    for shape, number in shapes(components, connectivity=4):
        numbers.append(int(number))
        rings.append(len(shape["coordinates"]))
        for ring in shape["coordinates"]:
            counts.append(len(ring))
            points += ring
    polygons = np.empty(count, object)
    polygons[numbers] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        np.array(points) + np.array([0, top]),
        (_offsets(counts), _offsets(rings)),
    )
    return polygons


def _offsets(counts: Sequence[int]) -> np.ndarray:
    """Return where each of several runs of so many entries begins, and where the last one ends."""
    return np.append(0, np.cumsum(counts))


def _nodes(around: np.ndarray) -> np.ndarray:
    """Return where at least NODE borders meet, bool (h + 1, W + 1), in framed labels, (h + 2, W + 2)."""
    across, down = around[:, 1:] != around[:, :-1], around[1:] != around[:-1]
    meeting = across[1:].astype(np.uint8) + across[:-1] + down[:, 1:] + down[:, :-1]
    return meeting >= NODE


def _with_nodes(polygons: np.ndarray, nodes: np.ndarray, top: int) -> np.ndarray:
    """Return polygons that have a point at each node on their borders, as neighbours must in a coverage."""
    # A point at each pixel, then without those that are neither corners nor nodes.
    kind, points, (rings, wholes) = shapely.to_ragged_array(shapely.segmentize(polygons, 1))
    points = np.rint(points)
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    first, last = rings[:-1], rings[1:] - 1  # a ring ends with the point that it begins with
    before[first] = points[first] - points[last - 1]
    after[last] = points[first + 1] - points[last]
    corner = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    columns, rows = points.astype(int).T
    kept = corner | nodes[rows - top, columns]
    kept[first] = kept[last] = True
    counts = np.add.reduceat(kept, first)
    return shapely.from_ragged_array(kind, points[kept], (_offsets(counts), wholes))


def _parts(
    components: np.ndarray,
    labels: np.ndarray,
    polygons: np.ndarray,
    areas: np.ndarray,
    confidence: np.ndarray | None,
) -> list[_Part]:
    """Return a part for each component of a strip."""
    flat, count = components.ravel(), len(labels)
    pixels = np.bincount(flat, minlength=count)
    ground = np.bincount(flat, np.broadcast_to(areas, components.shape).ravel(), count)
    sums, known = np.zeros(count), np.zeros(count, int)
    if confidence is not None:
        there = ~np.isnan(confidence).ravel()
        sums = np.bincount(flat[there], confidence.ravel()[there], count)
        known = np.bincount(flat[there], minlength=count)
    columns = (column.tolist() for column in (labels, pixels, ground, sums, known))
    return [_Part(*numbers, [polygon]) for *numbers, polygon in zip(*columns, polygons, strict=True)]


def _join(
    seam: _Seam, parts: dict[int, _Part], numbers: np.ndarray, labels: np.ndarray
) -> tuple[_Seam, list[_Part]]:
    """Return the seam at a strip's lower edge, and the parts that end above it.

    `seam` is that at its upper edge, `parts` are those of the strip by number, `numbers` (h, W) say which
    pixel belongs to which.
    """
    alias: dict[int, int] = {}

    def root(number: int) -> int:
        while number in alias:
            number = alias[number]
        return number

    parts = seam.parts | {number: part for number, part in parts.items() if part.label != IGNORE}
    alike = (seam.labels == labels[0]) & (labels[0] != IGNORE)
    for above, below in np.unique([seam.numbers[alike], numbers[0][alike]], axis=1).T.tolist():
        first, second = root(above), root(below)
        if first != second:
            parts[first].add(parts.pop(second))
            alias[second] = first
    last = np.where(labels[-1] == IGNORE, -1, numbers[-1])
    found, at = np.unique(last, return_inverse=True)
    roots = np.array([root(number) for number in found.tolist()])
    open_parts = {number: parts.pop(number) for number in dict.fromkeys(roots.tolist()) if number >= 0}
    return _Seam(roots[at], labels[-1], open_parts), list(parts.values())


@contextmanager
def sieved(read: ReadRows, shape: tuple[int, int], least: int, folder: Path) -> Iterator[ReadRows]:
    """Yield rows of a map in which patches of fewer than `least` pixels have their largest neighbour's class.

    A patch stays whose neighbours are as small, or that has none. The map lies in temporary files of
    `folder`, two bytes for each of its pixels. Raises OSError where the disk is full.
    """
    with staging_directory(folder) as work:
        before, after = (_on_disk(work / name, shape) for name in ("before", "after"))
        for rows in strips(shape):
            after[rows] = read(rows) + np.uint8(1)  # IGNORE becomes 0, which GDAL's mask leaves out
        # GDAL joins a patch to its neighbour, but not what has become of the two: that is for the next pass.
        while any((before[rows] != after[rows]).any() for rows in strips(shape)):
            before, after = after, before
            sieve(before, least, out=after, mask=before)
        yield lambda rows: after[rows] - np.uint8(1)


def _on_disk(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return an array in a new file, whose bytes are reserved: a full disk would end the process later."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, math.prod(shape))
    return np.memmap(path, np.uint8, "r+", shape=shape)
