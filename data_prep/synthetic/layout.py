"""Where things lie in a synthetic scene: land cover, field grid, roads, river, clouds."""

from dataclasses import dataclass

import cv2
import numpy as np

from common.datasets import IGNORE
from data_prep.synthetic.noise import Lines, crossing_line, fractal, smooth

URBAN, AGRICULTURE, RANGELAND, FOREST, WATER, BARREN = range(6)

# Beside fields, a scene holds two of the other classes. Four scenes in a row hold all of them, and a
# period of 7 keeps it so for every K-th scene, as a hold-out takes them.
MINORITY_CLASSES = (
    (URBAN, WATER),
    (FOREST, BARREN),
    (RANGELAND, URBAN),
    (WATER, FOREST),
    (BARREN, RANGELAND),
    (URBAN, FOREST),
    (WATER, RANGELAND),
)
MINORITY_SHARE = 0.22  # of the patches, for each minority class
SHORTEST_ROAD = 60  # pixels of area; less is a scrap at the edge of a town


@dataclass
class Layout:
    """A scene without its colours; maps are (size, size)."""

    size: int
    cover: np.ndarray  # uint8: land class of every pixel, under clouds too
    u: np.ndarray  # float32: coordinates along and across the field grid, pixels
    v: np.ndarray
    fields: Lines  # field strips along u
    track: np.ndarray  # float32: distance to the nearest farm road, pixels
    street: np.ndarray  # float32: distance to the nearest street of a town, pixels
    town: tuple[Lines, Lines]  # the streets across u and v
    main_road: np.ndarray  # float32: distance to the main road, pixels
    road: np.ndarray  # bool: paved or beaten road, the road task's label
    cloud: np.ndarray  # float32, 0..1: how much a cloud hides

    @property
    def land_labels(self) -> np.ndarray:
        """The land task's labels, uint8: unknown where a cloud hides the ground."""
        return np.where(self.cloud > 0.35, IGNORE, self.cover).astype(np.uint8)


def make_layout(rng: np.random.Generator, size: int, minority: tuple[int, int]) -> Layout:
    """Draw a scene of `size` x `size` pixels with fields and the two `minority`."""
    cover = _patches(rng, size, minority)
    _lay_river(rng, size, cover, minority)
    main_line = crossing_line(rng, size, wiggle=size / 40, cell=size / 2)
    main_road = np.abs(main_line)
    u, v = _grid(rng, size, main_line > 0)
    reach = 1.6 * size
    fields = Lines(rng, reach, (26, 85))
    kept = np.zeros(len(fields.places), bool)
    kept[rng.integers(3) :: 3] = True
    across = Lines(rng, reach, (170, 420))
    track = np.minimum(fields.every(kept).distance(u), across.distance(v))  # every third border is a road
    town = Lines(rng, reach, (38, 62)), Lines(rng, reach, (64, 120))
    street = np.minimum(town[0].distance(u), town[1].distance(v))
    road = _road(rng, cover, main_road, track, street)
    cloud = _cloud(rng, size)
    return Layout(size, cover, u, v, fields, track, street, town, main_road, road, cloud)


def _patches(rng: np.random.Generator, size: int, minority: tuple[int, int]) -> np.ndarray:
    """Cut the scene into patches with uneven outlines and give each a class: uint8 (size, size)."""
    spacing = float(np.clip(size / 4, 32, 150))
    count = int(np.ceil(size / spacing)) + 2
    centres = np.stack(np.meshgrid(np.arange(count), np.arange(count)), -1).reshape(-1, 2) - 0.5
    centres = ((centres + rng.uniform(-0.4, 0.4, centres.shape)) * spacing).astype(np.float32)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    x += fractal(rng, size, spacing, 5) * np.float32(spacing * 0.16)
    y += fractal(rng, size, spacing, 5) * np.float32(spacing * 0.16)
    nearest = np.zeros((size, size), np.int32)
    best = np.full((size, size), np.inf, np.float32)
    for number, (cx, cy) in enumerate(centres):
        distance = (x - cx) ** 2 + (y - cy) ** 2
        nearest[distance < best] = number
        np.minimum(best, distance, out=best)
    return _patch_classes(rng, size, centres, minority)[nearest]


def _patch_classes(rng: np.random.Generator, size: int, centres: np.ndarray, minority: tuple) -> np.ndarray:
    """Give the patches around two opposite points to the minority, a few to any class, the rest to fields."""
    classes = np.full(len(centres), AGRICULTURE, np.uint8)
    strays = rng.random(len(centres)) < 0.04
    classes[strays] = rng.choice([URBAN, RANGELAND, FOREST, BARREN], strays.sum())
    angle = rng.uniform(0, 2 * np.pi)
    inside = np.flatnonzero(((centres > 0) & (centres < size)).all(axis=1))
    for label, side in zip(minority, (1, -1), strict=True):
        towards = np.array([np.cos(angle), np.sin(angle)]) * side * size * 0.3
        order = np.argsort(((centres[inside] - size / 2 - towards) ** 2).sum(axis=1))
        classes[inside[order[: max(1, round(len(inside) * MINORITY_SHARE))]]] = label
    return classes


def _lay_river(rng: np.random.Generator, size: int, cover: np.ndarray, minority: tuple) -> None:
    """Lay a river with grassy banks into some scenes' `cover`."""
    wide = WATER in minority
    if rng.random() > (0.6 if wide else 0.15):
        return
    distance = np.abs(crossing_line(rng, size, wiggle=size / 14, cell=size / 3))
    half = rng.uniform(0.025, 0.05) * size if wide else rng.uniform(5, 9)
    half_width = half * (1 + 0.15 * smooth(rng, size, size / 5))
    bank = half_width + np.maximum(2, 5 + 4 * smooth(rng, size, 40))
    cover[(distance < bank) & (cover != WATER)] = RANGELAND
    cover[distance < half_width] = WATER


def _grid(rng: np.random.Generator, size: int, beyond: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates along and across the fields; they turn at the main road, and bend a little."""
    y, x = np.mgrid[:size, :size].astype(np.float32) - np.float32(size / 2)
    angle = rng.uniform(0, np.pi)
    turned = np.where(beyond, angle, angle + rng.uniform(-0.5, 0.5)).astype(np.float32)
    cos, sin = np.cos(turned), np.sin(turned)
    bend = smooth(rng, size, size / 2) * np.float32(size / 70)
    return x * cos + y * sin + bend, y * cos - x * sin + bend


def _road(
    rng: np.random.Generator, cover: np.ndarray, main_road: np.ndarray, track: np.ndarray, street: np.ndarray
) -> np.ndarray:
    """Return where roads are: the main road everywhere, streets in towns, tracks between fields."""
    half = rng.uniform(3.2, 4.6)
    tracks = (track < rng.uniform(1.7, 2.4)) & np.isin(cover, (AGRICULTURE, RANGELAND))
    streets = (street < rng.uniform(2.2, 3.0)) & (cover == URBAN)
    road = ((main_road < half) | tracks | streets).astype(np.uint8)
    _, piece, stats, _ = cv2.connectedComponentsWithStats(road)
    return (road > 0) & (stats[piece, cv2.CC_STAT_AREA] >= SHORTEST_ROAD)


def _cloud(rng: np.random.Generator, size: int) -> np.ndarray:
    """Put a small cloud over one scene in eight: hidden share, 0..1."""
    if rng.random() > 0.125:
        return np.zeros((size, size), np.float32)
    centre, radius = rng.uniform(0.1, 0.9, 2) * size, rng.uniform(0.05, 0.09) * size
    y, x = np.mgrid[:size, :size].astype(np.float32)
    distance = np.hypot(x - centre[0], y - centre[1]) / radius
    return np.clip(1.6 - distance + 0.35 * fractal(rng, size, size / 10, 5), 0, 1)
