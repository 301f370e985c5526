"""Which scenes train and which test."""

import pytest

from common.errors import DataError
from data_prep.scenes import find_scenes
from data_prep.splits import make_split
from studies.plan import Data
from studies.scenes import choose_study_scenes

HOLD_OUT = Data(land="land", road=["a", "b"], hold_out=3, land_variants=1, road_variants=1)
SPLIT = Data(land="land", road=["a"], land_train=4, road_train=2, land_variants=1, road_variants=1, seed=5)


@pytest.fixture
def root(tmp_path):
    for folder, ids in {"land": "123456", "a": "xyz", "b": "w"}.items():
        (tmp_path / folder).mkdir()
        for id in ids:
            (tmp_path / folder / f"{id}_sat.jpg").write_text(f"{id} image")
            (tmp_path / folder / f"{id}_mask.png").write_text(f"{id} mask")
    return tmp_path


def ids(scenes) -> list[str]:
    return [scene.id for scene in scenes]


def test_every_third_scene_tests_and_all_roads_train(root):
    scenes = choose_study_scenes(HOLD_OUT, root)
    assert (ids(scenes.land_train), ids(scenes.land_test)) == (["1", "2", "4", "5"], ["3", "6"])
    assert ids(scenes.road) == ["w", "x", "y", "z"]


def test_scenes_that_are_left_out_move_no_other(root):
    (root / "bad.txt").write_text("2\n3\n")
    (root / "bad_roads.txt").write_text("x\n")
    lists = {"land_leave_out": "bad.txt", "road_leave_out": "bad_roads.txt"}
    scenes = choose_study_scenes(HOLD_OUT.model_copy(update=lists), root)
    assert (ids(scenes.land_train), ids(scenes.land_test)) == (["1", "4", "5"], ["6"])
    assert ids(scenes.road) == ["w", "y", "z"]


def test_so_many_train_as_the_command_for_splits_would_choose(root):
    scenes = choose_study_scenes(SPLIT, root)
    split = make_split("land", "123456", 4, 5)
    assert (ids(scenes.land_train), ids(scenes.land_test)) == (list(split.train), list(split.test))
    assert ids(scenes.road) == list(make_split("road", "xyz", 2, 5).train)


def test_a_scenes_checksum_is_of_image_and_mask(root):
    before = choose_study_scenes(HOLD_OUT, root).checksums()
    assert [list(part) for part in before.values()] == [list("1245"), list("36"), list("wxyz")]
    (root / "land/3_mask.png").write_text("another mask")
    (root / "a/x_sat.jpg").write_text("another image")
    after = choose_study_scenes(HOLD_OUT, root).checksums()
    changed = {id for part in before for id in before[part] if before[part][id] != after[part][id]}
    assert changed == {"3", "x"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (HOLD_OUT.model_copy(update={"land": "sea"}), "sea: is no folder; say by --data"),
        (HOLD_OUT.model_copy(update={"hold_out": 50}), "50 leaves no test scene of 6"),
        (SPLIT.model_copy(update={"land_train": 6}), "6 of 6 scenes leave nothing"),
    ],
)
def test_a_part_without_scenes_is_refused(root, data, words):
    with pytest.raises(DataError, match=words):
        choose_study_scenes(data, root)
    assert find_scenes([root / "land"])  # the folder itself is sound
