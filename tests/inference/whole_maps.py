"""A predictor's strips put together."""

import numpy as np

from inference.predictor import Predictor


def probabilities(predictor: Predictor, image: np.ndarray) -> np.ndarray:
    """Return the probabilities of a scene, (C, H, W); the strips must cover its rows once, in order."""
    return joined(predictor.strips(image), image.shape[:2])


def joined(strips, shape: tuple[int, int]) -> np.ndarray:
    """Return strips (top, (C, h, W)) one below the other, (C, *shape)."""
    parts, row = [], 0
    for top, strip in strips:
        assert top == row
        parts.append(strip.copy())  # valid until the next one
        row += strip.shape[1]
    result = np.concatenate(parts, axis=1)
    assert result.shape[1:] == shape
    return result
