"""Masks of one class at most, mostly of none, are refused: those of roads as land cover, for instance."""

import cv2
import numpy as np
import pytest

from common.errors import DataError
from data_prep.scene_pixels import refuse_one_class
from data_prep.scenes import find_scenes
from tests.datasets import LAND, ROAD

BLACK, WHITE, BLUE = (0, 0, 0), (255, 255, 255), (255, 0, 0)  # BGR
ROADS = [(BLACK, 90), (WHITE, 10)]


@pytest.fixture
def scenes(tmp_path):
    """Return a function that makes scenes of masks, each given by (colour, how many of 100 rows)."""

    def make(*masks):
        for number, parts in enumerate(masks):
            rows = np.repeat(np.uint8([colour for colour, _ in parts]), [count for _, count in parts], axis=0)
            mask = np.repeat(rows[:, None], 50, axis=1)
            cv2.imwrite(str(tmp_path / f"{number}_sat.png"), mask)
            cv2.imwrite(str(tmp_path / f"{number}_mask.png"), mask)
        return find_scenes([tmp_path], LAND)

    return make


@pytest.mark.parametrize("more", [[], [ROADS], [[(BLACK, 100)]], [[(WHITE, 60), (BLACK, 40)]]])
def test_black_and_white_masks_mostly_black_are_refused(scenes, more):
    with pytest.raises(
        DataError,
        match=r"0_mask\.png: shows one class at most.*% unknown.*are masks of DeepGlobe land cover",
    ):
        refuse_one_class(scenes(ROADS, *more), LAND)


@pytest.mark.parametrize(
    "masks",
    [
        [ROADS, ROADS, [(BLACK, 99), (BLUE, 1)]],  # one mask of them has water
        [[(WHITE, 100)]],  # a desert
        [[(WHITE, 60), (BLACK, 40)]],  # one at the border of what is known
        [[(BLACK, 90), (WHITE, 10)], [(WHITE, 100)]],
    ],
)
def test_what_may_be_land_cover_is_not(scenes, masks):
    refuse_one_class(scenes(*masks), LAND)


def test_for_roads_they_are_right(scenes):
    refuse_one_class(scenes(ROADS), ROAD)


def test_reading_ends_with_the_first_mask_that_has_two_classes(scenes, tmp_path):
    found = scenes([(BLUE, 60), (WHITE, 40)], ROADS)
    (tmp_path / "1_mask.png").write_bytes(b"not read")
    refuse_one_class(found, LAND)
