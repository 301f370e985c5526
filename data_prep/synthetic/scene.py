"""One synthetic scene: layout, colours, roads, trees, light and camera."""

import cv2
import numpy as np

from common.datasets import read_dataset
from data_prep.masks import colours_from_labels
from data_prep.synthetic.layout import (
    AGRICULTURE,
    MINORITY_CLASSES,
    RANGELAND,
    URBAN,
    WATER,
    Layout,
    make_layout,
)
from data_prep.synthetic.noise import fractal, grain, relief, shifted, smooth
from data_prep.synthetic.textures import PAINTERS, blend, colour

DATASETS = {"land": "deepglobe_land", "road": "deepglobe_road"}  # what a scene is a sample of
HAZE = 0.15  # share of the colour that the air takes


def make_scene(kind: str, size: int, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return image and mask, both uint8 (size, size, 3) in RGB, of scene `number` of a seed.

    `kind` is of DATASETS; the mask has the data set's colours.
    """
    rng = np.random.default_rng([seed, list(DATASETS).index(kind), number])
    layout = make_layout(rng, size, MINORITY_CLASSES[number % len(MINORITY_CLASSES)])
    image = _camera(rng, _paint(rng, layout), layout.cloud)
    labels = layout.land_labels if kind == "land" else layout.road.astype(np.uint8)
    return image, colours_from_labels(labels, read_dataset(DATASETS[kind]))


def _paint(rng: np.random.Generator, at: Layout) -> np.ndarray:
    """Return the scene under even light: float32 (size, size, 3), 0..255."""
    ground = np.zeros((at.size, at.size, 3), np.float32)
    for label, painter in enumerate(PAINTERS):
        covered = at.cover == label
        if covered.any():
            np.copyto(ground, painter(rng, at), where=covered[..., None])
    _draw_shore(ground, at)
    _draw_roads(rng, ground, at)
    _plant_trees(rng, ground, at)
    return ground


def _draw_shore(ground: np.ndarray, at: Layout) -> None:
    """Pale, wet sand along the water."""
    water = (at.cover == WATER).astype(np.float32)
    if water.any():
        rim = np.clip(cv2.GaussianBlur(water, (0, 0), 2.5) * 2, 0, 1) * (1 - water)
        ground[:] = blend(ground, colour((150, 138, 112), 0 * rim), 0.6 * rim)


def _draw_roads(rng: np.random.Generator, ground: np.ndarray, at: Layout) -> None:
    """Asphalt for the main road, with pale shoulders; asphalt or earth for streets; earth for tracks."""
    worn = 5 * grain(rng, at.size, 1.5) + 6 * smooth(rng, at.size, 30)
    shoulder = np.clip((7.5 - at.main_road) / 3, 0, 1) * (at.cover != WATER)
    ground[:] = blend(ground, colour((158, 142, 114), 2 * worn), 0.7 * shoulder)
    asphalt = rng.choice(np.array([(112, 108, 104), (132, 126, 118), (146, 138, 126)], np.float32))
    earth = rng.choice(np.array([(166, 146, 116), (150, 130, 100), (176, 160, 134)], np.float32))
    ground[at.road] = colour(earth, 1.3 * worn)[at.road]
    streets = at.road & (at.cover == URBAN)
    ground[streets] = colour(0.6 * asphalt + 0.4 * earth, worn)[streets]
    paved = at.road & (at.main_road < 4.7)
    ground[paved] = colour(asphalt, worn)[paved]


def _plant_trees(rng: np.random.Generator, ground: np.ndarray, at: Layout) -> None:
    """Single trees, mostly along field borders and roads, each with its shadow."""
    open_land = np.isin(at.cover, (AGRICULTURE, RANGELAND)) & ~at.road
    borders = open_land & ((np.abs(at.track - 5) < 2) | (at.fields.distance(at.u) < 2))
    crowns = np.zeros((at.size, at.size), np.uint8)
    clumps = smooth(rng, at.size, 50) > 0.4
    for places, density in ((borders & clumps, 0.008), (open_land, 0.00015)):
        candidates = np.flatnonzero(places)
        chosen = rng.choice(candidates, int(len(candidates) * density)) if candidates.size else []
        for place in chosen:
            row, column = divmod(int(place), at.size)
            cv2.circle(crowns, (column, row), int(rng.integers(2, 6)), 1, cv2.FILLED)
    rough = grain(rng, at.size, 1.6)
    crown = (crowns > 0) & (rough > -1.4) & ~at.road
    ground[shifted(crown, 3) & ~crown] *= 0.6
    leaves = colour((50, 66, 42), 8 * relief(rough))
    ground[crown] = leaves[crown]


def _camera(rng: np.random.Generator, ground: np.ndarray, cloud: np.ndarray) -> np.ndarray:
    """Clouds, haze, light, colour cast, the lens's blur and noise: uint8 (size, size, 3)."""
    size = len(ground)
    light = rng.uniform(0.88, 1.08) * (1 + 0.03 * smooth(rng, size, size / 2))
    cast = rng.normal(1, 0.025, 3).astype(np.float32)
    seen = ground * light.astype(np.float32)[..., None] * cast + np.float32(rng.uniform(0, 10))
    if cloud.any():
        white = colour((232, 232, 234), 10 * fractal(rng, size, size / 12, 4))
        seen = blend(seen, white, np.clip(cloud * 1.3, 0, 1))
    seen = blend(seen, cv2.merge([seen.mean(axis=2)] * 3), np.full((size, size), HAZE))
    seen = cv2.GaussianBlur(seen, (0, 0), 0.7)
    seen += (2.0 * rng.standard_normal((size, size), dtype=np.float32))[..., None]
    return np.clip(seen + 0.5, 0, 255).astype(np.uint8)
