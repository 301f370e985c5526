"""A control for experiments: every image with the labels of another one."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common.datasets import Dataset
from common.errors import DataError
from data_prep.read_options import ReadOptions
from data_prep.scene_pixels import open_scene
from data_prep.scenes import Scene


def shuffle_masks(
    scenes: Sequence[Scene], dataset: Dataset, seed: int, read_options: ReadOptions
) -> list[Scene]:
    """Return the scenes in their order, each with the mask of another scene of the same size.

    All masks are kept, so the shares of the classes stay as they are; what is lost is where they belong.
    The same seed and scenes give the same result. Raises DataError for a scene whose size no other has.
    """
    by_size: dict[tuple[int, int], list[Scene]] = defaultdict(list)
    for scene in scenes:
        with open_scene(scene, dataset, read_options) as pixels:
            by_size[pixels.shape].append(scene)
    rng = np.random.default_rng(seed)
    masks = {}
    for (height, width), group in by_size.items():
        if len(group) == 1:
            fact = f"is the only scene of {width}x{height} pixels, no other has labels for it"
            raise DataError(group[0].image, fact, "leave it out")
        ring = [group[i] for i in rng.permutation(len(group))]
        masks |= {scene.id: after.mask for scene, after in zip(ring, ring[1:] + ring[:1], strict=True)}
    return [replace(scene, mask=masks[scene.id]) for scene in scenes]
