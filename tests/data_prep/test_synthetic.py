"""Synthetic scenes: DeepGlobe's format, all classes, learnable, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest

from common.errors import DataError
from data_prep.masks import labels_from_colours
from data_prep.synthetic.folders import write_scenes
from data_prep.synthetic.layout import MINORITY_CLASSES
from data_prep.synthetic.noise import Lines, grain, smooth
from data_prep.synthetic.scene import make_scene
from tests.datasets import LAND

SIZE = 256


@pytest.fixture(scope="module")
def land():
    return [make_scene("land", SIZE, 11, number) for number in range(16)]


@pytest.fixture(scope="module")
def road():
    return [make_scene("road", SIZE, 11, number) for number in range(6)]


def classes_of(mask: np.ndarray) -> set[tuple]:
    """Return the palette colours that cover at least 1 % of a mask."""
    counts = Counter(map(tuple, mask.reshape(-1, 3).tolist()))
    return {colour for colour, count in counts.items() if count >= 0.01 * mask.shape[0] * mask.shape[1]}


def test_images_and_masks_have_deepglobes_format(land, road):
    for image, mask in land + road:
        assert image.shape == mask.shape == (SIZE, SIZE, 3)
        assert image.dtype == mask.dtype == np.uint8
    for _, mask in land:
        assert set(map(tuple, mask.reshape(-1, 3).tolist())) <= {*LAND.palette, (0, 0, 0)}
    for _, mask in road:
        assert set(map(tuple, mask.reshape(-1, 3).tolist())) == {(0, 0, 0), (255, 255, 255)}


def test_every_land_scene_holds_several_classes(land):
    assert min(len(classes_of(mask) - {(0, 0, 0)}) for _, mask in land) >= 3


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 6, 8])
def test_any_hold_out_has_all_minority_classes_within_seven_scenes(step):
    for first in range(7):
        assert {label for k in range(7) for label in MINORITY_CLASSES[(first + k * step) % 7]} == {
            0,
            2,
            3,
            4,
            5,
        }


def test_four_scenes_in_a_row_has_all_minority_classes():
    for first in range(7):
        assert {label for k in range(4) for label in MINORITY_CLASSES[(first + k) % 7]} == {0, 2, 3, 4, 5}


def test_eight_scenes_in_a_row_show_all_six_classes(land):
    for first in (0, 4, 8):
        seen = set().union(*(classes_of(mask) for _, mask in land[first : first + 8]))
        assert set(LAND.palette) <= seen


def test_fields_are_the_commonest_class_and_unknown_is_rare(land):
    labels = np.concatenate([labels_from_colours(mask, LAND).ravel() for _, mask in land])
    shares = np.bincount(labels, minlength=256) / labels.size
    assert 0.4 < shares[1] < 0.65
    assert max(np.delete(shares, 1)) < 0.25
    assert shares[255] < 0.03


def test_unknown_occurs():
    assert any((make_scene("land", 128, 1, number)[1] == 0).all(axis=2).any() for number in range(40))


def test_roads_cover_a_few_percent(road):
    for _, mask in road:
        assert 0.01 < (mask[..., 0] == 255).mean() < 0.2


def test_roads_look_different_from_what_is_beside_them(road):
    """A road is brighter than the ground around it, on the whole: it can be seen."""
    contrast = [image[mask[..., 0] > 0].mean() - image[mask[..., 0] == 0].mean() for image, mask in road]
    assert min(contrast) > 8


def test_a_seed_gives_the_same_scene_and_others_give_others():
    first = make_scene("land", 128, 3, 5)
    again = make_scene("land", 128, 3, 5)
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    for other in (("land", 128, 4, 5), ("land", 128, 3, 12), ("road", 128, 3, 5)):
        assert (make_scene(*other)[0] != first[0]).any()


def test_noise_has_the_stated_size_and_spread():
    rng = np.random.default_rng(0)
    assert smooth(rng, 100, 7.5).shape == (100, 100)
    assert grain(rng, 400, 2.0).std() == pytest.approx(1, abs=0.1)


def test_distance_to_lines_agrees_with_brute_force():
    lines = Lines(np.random.default_rng(0), 200, (20, 50))
    at = np.random.default_rng(1).uniform(-190, 190, 300)
    expected = np.abs(at[:, None] - lines.places[None]).min(axis=1)
    assert np.abs(lines.distance(at) - expected).max() < 0.26
    assert np.abs(lines.index(at) - (at[:, None] > lines.places).sum(axis=1)).max() <= 1


@pytest.mark.parametrize(
    ("counts", "size", "seed", "where"),
    [
        ({"land": 1}, 8, 0, "--size"),
        ({"land": -1}, 128, 0, "--land"),
        ({"land": 0, "road": 0}, 128, 0, "--land and --road"),
        ({"land": 1}, 128, -1, "--seed"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path, counts, size, seed, where):
    with pytest.raises(DataError) as caught:
        write_scenes(tmp_path / "out", counts, size, seed)
    assert caught.value.where == where
    assert list(tmp_path.iterdir()) == []
