"""Which scenes train and which test."""

import hashlib

import pytest

from common.errors import DataError
from data_prep.scenes import find_scenes
from data_prep.splits import make_split
from prototxt_gen.experiment import experiment_path, read_experiment
from studies.plan import Study
from studies.runner import StudyRunner
from studies.scenes import choose_study_scenes
from tests.datasets import LAND

BASE = read_experiment(experiment_path("dfcnet_demo"))


def study(land: dict, road: dict, seed: int = 1) -> Study:
    """Return a study of land scenes in `land`, and road scenes in folders of which one is `a`."""
    scenes = {
        "land": {"images": ["land"], "variants": 1} | land,
        "road": {"images": ["a", "b"], "variants": 1} | road,
    }
    table = {"name": "s", "title": "T", "experiment": "dfcnet_demo", "seeds": [1], "scenes": scenes}
    return Study.model_validate(table | {"records": {"seed": seed}, "test": {"scales": [1.0], "flip": False}})


HOLD_OUT = study({"hold_out": 3}, {})
SPLIT = study({"train": 4}, {"images": ["a"], "train": 2}, seed=5)


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
    scenes = choose_study_scenes(HOLD_OUT, BASE, root)
    assert (ids(scenes.train["land"]), ids(scenes.test)) == (["1", "2", "4", "5"], ["3", "6"])
    assert ids(scenes.train["road"]) == ["w", "x", "y", "z"]


def test_scenes_that_are_left_out_move_no_other(root):
    (root / "bad.txt").write_text("2\n3\n")
    (root / "bad_roads.txt").write_bytes("\ufeffx_sat.jpg\r\nnone\r\n".encode())
    left_out = study({"hold_out": 3, "leave_out": "bad.txt"}, {"leave_out": "bad_roads.txt"})
    scenes = choose_study_scenes(left_out, BASE, root)
    assert (ids(scenes.train["land"]), ids(scenes.test)) == (["1", "4", "5"], ["6"])
    assert ids(scenes.train["road"]) == ["w", "y", "z"]
    assert scenes.warnings["land"] == []
    assert scenes.warnings["road"] == [
        f"{root}/bad_roads.txt: 1 id of no scene, as none: nothing is left out for it"
    ]


def test_so_many_train_as_the_command_for_splits_would_choose(root):
    scenes = choose_study_scenes(SPLIT, BASE, root)
    split = make_split("deepglobe_land", "123456", 4, 5)
    assert (ids(scenes.train["land"]), ids(scenes.test)) == (list(split.train), list(split.test))
    assert ids(scenes.train["road"]) == list(make_split("deepglobe_road", "xyz", 2, 5).train)


def test_development_scenes_are_those_of_the_largest_hashes_among_the_training_scenes(root):
    scenes = choose_study_scenes(study({"hold_out": 3, "development": 1}, {}, seed=7), BASE, root)
    hashes = {id: hashlib.sha256(f"7:{id}".encode()).digest()[:8] for id in "1245"}  # 3 and 6 are held out
    developed = max(hashes, key=hashes.get)
    assert ids(scenes.test) == [developed]
    assert ids(scenes.train["land"]) == sorted({*"1245"} - {developed})


def test_options_at_their_defaults_are_not_noted_with_a_study(root):
    """A folder of a version that did not have them goes on."""
    chosen = study({"hold_out": 3, "rotate": True}, {"rotate": False, "jitter": 0.0})
    noted = StudyRunner(chosen, BASE, root, root / "out")._settings()
    assert noted["scenes"] == {
        "land": {"images": ["land"], "variants": 1, "hold_out": 3, "rotate": True},
        "road": {"images": ["a", "b"], "variants": 1},
    }
    assert (noted["records"], noted["test"]) == (
        {"margin": 32, "seed": 1},
        {"scales": [1.0], "flip": False},
    )


def test_a_scenes_checksum_is_of_image_and_mask(root):
    before = choose_study_scenes(HOLD_OUT, BASE, root).checksums()
    assert [list(part) for part in before.values()] == [list("1245"), list("wxyz"), list("36")]
    (root / "land/3_mask.png").write_text("another mask")
    (root / "a/x_sat.jpg").write_text("another image")
    after = choose_study_scenes(HOLD_OUT, BASE, root).checksums()
    changed = {id for part in before for id in before[part] if before[part][id] != after[part][id]}
    assert changed == {"3", "x"}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (study({"hold_out": 3, "images": ["sea"]}, {}), "sea: is not a folder; say by --data"),
        (study({"hold_out": 50}, {}), "50 leaves no test scene of 6"),
        (study({"train": 6}, {}), "6 of 6 scenes leave nothing"),
        (study({"hold_out": 3, "development": 4}, {}), "development: is 4 of 4 scenes .* give 1 to 3"),
    ],
)
def test_a_part_without_scenes_is_refused(root, wanted, words):
    with pytest.raises(DataError, match=words):
        choose_study_scenes(wanted, BASE, root)
    assert find_scenes([root / "land"], LAND)  # the folder itself is sound
