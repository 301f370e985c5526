"""What each land cover looks like from above, at about a metre a pixel. Colours are RGB, 0..255."""

import cv2
import numpy as np

from data_prep.synthetic.layout import Layout
from data_prep.synthetic.noise import fractal, grain, relief, shifted, smooth

CROPS = [(48, 66, 46), (58, 76, 50), (74, 88, 58), (98, 98, 66), (66, 78, 58), (84, 104, 60)]
BARE_FIELDS = [(140, 120, 90), (116, 94, 70), (128, 104, 76), (150, 134, 98), (104, 88, 70)]
FIELD_COLOURS = np.array([*CROPS, *BARE_FIELDS], np.float32)
ROOF_COLOURS = np.array(
    [(178, 172, 162), (204, 198, 188), (152, 140, 124), (160, 112, 88), (128, 124, 120), (104, 128, 152)],
    np.float32,
)
WATER_COLOURS = np.array([(50, 70, 66), (44, 64, 78), (66, 82, 72), (122, 112, 92)], np.float32)


def colour(rgb: tuple[float, float, float], *shades: np.ndarray) -> np.ndarray:
    """Return a map (size, size, 3) of one colour, lightened by the sum of `shades` (in grey levels)."""
    shade = sum(shades).astype(np.float32)
    return cv2.merge([shade + np.float32(channel) for channel in rgb])


def blend(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mix two colour maps; `share` (size, size), 0..1, is that of `second`."""
    share = share.astype(np.float32)
    return cv2.blendLinear(first, second, 1 - share, share)


def agriculture(rng: np.random.Generator, at: Layout) -> np.ndarray:
    """Parcels in strips, each with its crop, its rows and its unevenness, parted by ridges."""
    strip = at.fields.index(at.u)
    strips = int(strip.max()) + 1
    length = rng.uniform(45, 170, strips).astype(np.float32)[strip]
    along = at.v / length + rng.uniform(0, 1, strips).astype(np.float32)[strip]
    cell = np.floor(along)
    ridge = np.minimum(at.fields.distance(at.u), (0.5 - np.abs(along - cell - 0.5)) * length)
    parcel = (strip * 97 + cell.astype(np.int32) * 31) % 509  # equal numbers lie far apart
    # Neighbouring farms sow the same: a scene has a few favourite crops.
    crops = rng.choice(FIELD_COLOURS, 5, replace=False)[rng.integers(0, 5, 509)]
    crops = crops + rng.normal(0, 5, (509, 1)) + rng.normal(0, 2.5, (509, 3))
    along_u = (rng.random(509) < 0.3)[parcel]
    period = rng.uniform(3.2, 7, 509).astype(np.float32)[parcel]
    depth = (rng.uniform(0, 8, 509) * (rng.random(509) < 0.75)).astype(np.float32)[parcel]
    phase = np.where(along_u, at.v, at.u) / period + 0.15 * grain(rng, at.size, 6)
    rows = np.sin(np.float32(2 * np.pi) * phase) * depth
    uneven = fractal(rng, at.size, 40) * rng.uniform(1, 6, 509).astype(np.float32)[parcel]
    field = crops.astype(np.float32)[parcel] + (rows + uneven + 2 * grain(rng, at.size, 0.8))[..., None]
    edge = colour((104, 98, 70), 8 * grain(rng, at.size, 1.5))
    return blend(field, edge, np.clip(1.5 - ridge, 0, 1) * 0.75)


def forest(rng: np.random.Generator, at: Layout) -> np.ndarray:
    """Draw a closed canopy: dark, with crowns lit from one side, in stands of slightly different green."""
    crowns = grain(rng, at.size, 1.6) + 0.6 * grain(rng, at.size, 3.0)
    stand = fractal(rng, at.size, 90, 3)
    gaps = np.clip(-crowns - 1.1, 0, 1) * 16
    canopy = colour((42, 58, 40), 8 * relief(crowns), 5 * stand, 4 * crowns, -gaps)
    canopy[..., 0] += 4 * stand
    return canopy


def rangeland(rng: np.random.Generator, at: Layout) -> np.ndarray:
    """Grass and dry earth in soft patches, with scattered shrubs."""
    soft = np.clip(0.5 + 0.45 * fractal(rng, at.size, 80, 5), 0, 1)
    fine = 3.5 * grain(rng, at.size, 1.0) + 4 * grain(rng, at.size, 4)
    ground = blend(colour((88, 94, 62), fine), colour((124, 108, 82), fine), soft)
    crowd = grain(rng, at.size, 1.7) + 0.5 * smooth(rng, at.size, 60)
    shrubs = crowd > 2.0
    ground[shifted(shrubs, 2)] *= 0.78
    ground[shrubs] = (58, 68, 44)
    return ground


def water(rng: np.random.Generator, at: Layout) -> np.ndarray:
    """Draw a smooth surface with slow changes of tone and hardly any grain."""
    tone = WATER_COLOURS[rng.choice(4, p=[0.35, 0.3, 0.2, 0.15])]
    return colour(tone, 4 * smooth(rng, at.size, at.size / 3), 0.8 * grain(rng, at.size, 1.2))


def barren(rng: np.random.Generator, at: Layout) -> np.ndarray:
    """Bright sand and rock: broad tones, ripples and runnels in one direction."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[: at.size, : at.size].astype(np.float32)
    across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    waves = np.sin(across / np.float32(rng.uniform(5, 9)) + 2.2 * fractal(rng, at.size, 60, 3))
    runnels = np.clip(1 - np.abs(fractal(rng, at.size, 110, 5)) * 7, 0, 1) ** 2
    tone = 9 * fractal(rng, at.size, 100, 4) + 3 * grain(rng, at.size, 1.2)
    sand = rng.choice(np.array([(196, 178, 148), (186, 168, 146), (180, 156, 124)], np.float32))
    return colour(sand, tone, 3 * waves * (fractal(rng, at.size, 90, 2) > 0), -12 * runnels)


def urban(rng: np.random.Generator, at: Layout) -> np.ndarray:
    """Blocks of houses between streets: a roof with a lit and a dark side, its shadow, yards and trees."""
    ground = colour((120, 108, 90), 7 * fractal(rng, at.size, 20, 4), 4 * grain(rng, at.size, 0.8))
    trees = grain(rng, at.size, 2.0)
    green = (trees > 1.1) & (at.street > 3)
    ground[green] = (np.array((56, 70, 46)) + 8 * relief(trees)[..., None])[green]
    wide, deep = rng.uniform(13, 18), rng.uniform(12, 16)
    lot_u, lot_v = np.floor(at.u / wide), np.floor(at.v / deep)
    chance = rng.random((8, 64, 64), dtype=np.float32)
    off_u, off_v, half_u, half_v, built, kind, tint, ridge = chance[
        :, lot_u.astype(np.int32) % 64, lot_v.astype(np.int32) % 64
    ]
    from_u = at.u - (lot_u + 0.5) * wide - 3 * (off_u - 0.5)
    from_v = at.v - (lot_v + 0.5) * deep - 3 * (off_v - 0.5)
    centre_street = np.minimum(
        at.town[0].distance((lot_u + 0.5) * wide), at.town[1].distance((lot_v + 0.5) * deep)
    )
    roof = (np.abs(from_u) < 3.5 + 3 * half_u) & (np.abs(from_v) < 3 + 3 * half_v)
    roof &= (built < 0.88) & (centre_street > 8) & (at.street > 3)
    ground[shifted(roof, 3)] *= 0.55
    index = np.digitize(kind, [0.3, 0.5, 0.72, 0.84, 0.95])
    slope = np.where(ridge < 0.5, from_u, from_v) > 0
    tiles = ROOF_COLOURS[index] + (26 * (tint - 0.5) - 16 * slope)[..., None]
    ground[roof] = tiles[roof]
    return ground


PAINTERS = (urban, agriculture, rangeland, forest, water, barren)  # by label
