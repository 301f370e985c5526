"""Which scenes a command means: leaving some out moves no other from one part to the other."""

from pathlib import Path

import pytest

from common.errors import DataError
from data_prep.scenes import Scene
from data_prep.splits import make_split, write_split
from data_prep.subsets import Subset, select_scenes
from tests.datasets import LAND

IDS = [f"{number:02}" for number in range(11)]


@pytest.fixture
def folder(tmp_path):
    """Scenes 00 to 10, and a list with 02, 03 and an id that is nowhere."""
    for id in IDS:
        for ending in ("_sat.jpg", "_mask.png"):
            (tmp_path / f"{id}{ending}").touch()
    (tmp_path / "bad.txt").write_text("# why\n02\n03\n77\n")
    return tmp_path


def ids(scenes) -> list[str]:
    return [scene.id for scene in scenes]


def scenes_of(names) -> list[Scene]:
    return [Scene(id, Path(id), Path(id)) for id in names]


def test_every_kth_is_counted_over_all_images_left_out_or_not(folder):
    bad = folder / "bad.txt"
    train, test = (select_scenes([folder], Subset(LAND, name, 4, None, bad)) for name in ("train", "test"))
    assert ids(test) == ["07"]  # 03 and 07 are every fourth; 03 is left out
    assert ids(train) == ["00", "01", "04", "05", "06", "08", "09", "10"]
    assert ids(select_scenes([folder], Subset(LAND, "test", 4))) == ["03", "07"]


def test_a_left_out_scene_needs_neither_a_partner_nor_to_be_the_only_one(folder):
    (folder / "02_mask.png").unlink()
    (folder / "03_sat.png").touch()
    subset = Subset(LAND, "train", 4, None, folder / "bad.txt")
    assert "04" in ids(select_scenes([folder], subset))
    with pytest.raises(DataError, match=r"02_sat\.jpg: has no mask"):
        select_scenes([folder], Subset(LAND, "train", 4))


def test_a_split_made_without_the_left_out_scenes_goes_with_the_same_list(folder):
    split = folder / "split.json"
    write_split(split, make_split("deepglobe_land", [id for id in IDS if id not in ("02", "03")], 6, 0))
    subset = Subset(LAND, "test", None, split, folder / "bad.txt")
    assert len(select_scenes([folder], subset)) == 3
    with pytest.raises(DataError, match=r"lacks scene 02; add it .* or leave it out"):
        select_scenes([folder], Subset(LAND, "test", None, split))


def test_missing_scenes_of_a_split_are_named_unless_left_out(folder):
    write_split(folder / "split.json", make_split("deepglobe_land", IDS, 6, 0))
    subset = Subset(LAND, "test", None, folder / "split.json", folder / "bad.txt")
    wanted = [id for id in subset.table.test if id not in ("02", "03")]
    assert subset.missing(scenes_of(wanted)) is None
    error = subset.missing(scenes_of(wanted[1:]))
    assert f"has 1 test scenes that the folders lack, as {wanted[0]}; " in str(error)
    for path in folder.glob(f"{wanted[0]}_*"):
        path.unlink()
    with pytest.raises(DataError, match="that the folders lack"):
        select_scenes([folder], subset)


def test_a_test_part_of_nothing_is_refused(folder):
    with pytest.raises(DataError, match="--part: is test, and nothing says which scenes test"):
        select_scenes([folder], Subset(LAND, "test"))


def test_without_a_part_all_scenes_are_meant(folder):
    subset = Subset(LAND, leave_out=folder / "bad.txt")
    assert ids(select_scenes([folder], subset)) == [id for id in IDS if id not in ("02", "03")]
    assert (subset.manifest_entry(), Subset(LAND).manifest_entry()) == (
        {"leave_out": ["02", "03", "77"]},
        None,
    )
