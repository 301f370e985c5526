"""Masks of roads given for land cover: their black and white stand for unknown and barren there."""

from collections.abc import Sequence

import numpy as np

from common.errors import DataError
from data_prep.classes import IGNORE, Task, labels_from_mask
from data_prep.decoding import decode, read_bytes
from data_prep.scenes import Scene


def refuse_road_masks(scenes: Sequence[Scene], task: Task) -> None:
    """Raise DataError where all masks of land cover are black and white alone, and mostly black.

    No land cover is refused that a net could learn from or be scored on: there is at most one class, in the
    smaller part of the pixels. Reading ends with the first mask that has another colour, so mostly the first.
    GeoTIFFs are left alone: a file says what their numbers mean.
    """
    if task.name != "land" or any(scene.is_raster for scene in scenes):
        return
    black = pixels = 0
    for scene in scenes:
        mask = decode(read_bytes(scene.mask), scene.mask, rgb=True)
        labels = labels_from_mask(mask, task, scene.mask)
        unknown = np.count_nonzero(labels == IGNORE)
        if unknown + np.count_nonzero(labels == task.classes.index("barren")) < labels.size:
            return
        black += unknown
        pixels += labels.size
    if 2 * black > pixels:
        which = f" as all {len(scenes)} masks are" if len(scenes) > 1 else ""
        raise DataError(
            scenes[0].mask,
            f"is black and white{which}: {100 * black / pixels:.0f} % unknown, else only barren",
            "this looks like a road mask: build a road database, or give masks of land cover",
        )
