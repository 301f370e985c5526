"""Transitions between any two maps, against visiting each pixel."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluation.change import Transitions, write_change
from inference.scene_maps import write_map
from tests.datasets import LAND

IGNORE = 255
labels = st.sampled_from([*range(len(LAND.classes)), IGNORE])


def changes(maps: list[np.ndarray], side: float) -> Transitions:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}_mask.png" for number in range(2)]
        for path, values in zip(paths, maps, strict=True):
            write_map(path, values, LAND)
        return write_change(("0", paths[0]), ("1", paths[1]), Path(folder) / "out", LAND, side)


@settings(max_examples=15)
@given(st.tuples(st.integers(1, 6), st.integers(1, 6)), st.floats(1, 100), st.data())
def test_gains_and_losses_are_those_of_visiting_each_pixel_and_turn_round_with_the_maps(shape, side, data):
    before, after = (data.draw(arrays(np.uint8, shape, elements=labels)) for _ in range(2))
    found, hectare = changes([before, after], side), side**2 / 10_000
    expected = np.zeros((len(LAND.classes) + 1,) * 2, int)
    for old, new in zip(before.ravel().tolist(), after.ravel().tolist(), strict=True):
        expected[-1 if old == IGNORE else old, -1 if new == IGNORE else new] += 1
    np.testing.assert_array_equal(found.pixels, expected)
    np.testing.assert_allclose(found.hectares, expected * hectare)
    both = (before != IGNORE) & (after != IGNORE)
    np.testing.assert_allclose(found.compared, both.sum() * hectare)
    np.testing.assert_allclose(found.changed, (both & (before != after)).sum() * hectare, atol=1e-12)
    for label, (name, values) in enumerate(found.by_class().items()):
        assert name == LAND.class_names[label]
        was, is_now = both & (before == label), both & (after == label)
        counts = {"before": was, "after": is_now, "lost": was & ~is_now, "gained": is_now & ~was}
        assert values.keys() == counts.keys()
        for key, pixels in counts.items():
            np.testing.assert_allclose(values[key], pixels.sum() * hectare, atol=1e-12)
    np.testing.assert_array_equal(changes([after, before], side).pixels, expected.T)
