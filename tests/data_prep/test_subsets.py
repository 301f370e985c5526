"""Which scenes a command means: leaving some out moves no other from one part to the other."""

import codecs
import unicodedata
from pathlib import Path

import pytest

from common.errors import DataError
from data_prep.scenes import Scene
from data_prep.splits import make_split, write_split
from data_prep.subsets import Subset, read_leave_out, select_scenes, unknown_line
from tests.datasets import LAND, changed

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
    assert f"has 1 test scene that the folders lack, as {wanted[0]}; " in str(error)
    for path in folder.glob(f"{wanted[0]}_*"):
        path.unlink()
    with pytest.raises(DataError, match="that the folders lack"):
        select_scenes([folder], subset)


def test_a_test_part_of_nothing_is_refused(folder):
    with pytest.raises(DataError, match="--part: is test, and nothing says which scenes that is"):
        select_scenes([folder], Subset(LAND, "test"))


def test_without_a_part_all_scenes_are_meant(folder):
    subset = Subset(LAND, leave_out=folder / "bad.txt")
    assert ids(select_scenes([folder], subset)) == [id for id in IDS if id not in ("02", "03")]
    assert (subset.manifest_entry(), Subset(LAND).manifest_entry()) == (
        {"leave_out": ["02", "03", "77"]},
        None,
    )


def test_ids_that_nothing_knows_and_files_that_almost_fit_are_warned_of_and_noted(folder):
    (folder / "11_sat.webp").touch()
    write_split(folder / "split.json", make_split("deepglobe_land", [*IDS, "12"], 6, 0))
    (folder / "bad.txt").write_text("02\n12\n77\n")
    subset = Subset(LAND, "train", None, folder / "split.json", folder / "bad.txt")
    unused, unknown = subset.warnings([folder])
    assert unused.startswith(f"1 file left out, as {folder}/11_sat.webp: ")
    assert unknown == f"{folder}/bad.txt: 1 id of no scene, as 77: nothing is left out for it"
    assert subset.manifest_entry([unused, unknown])["warnings"] == [unused, unknown]
    assert "warnings" not in subset.manifest_entry()


@pytest.mark.parametrize(
    "data",
    [
        b"1\n2\n",
        codecs.BOM_UTF8 + b"1\n2\n",
        b"# why\r\n1\r\n\r\n2\r\n",
        b"  # why\n 1 \n\t2",
        b"1_sat.jpg\n2_mask.png\n",
        b"1_SAT.JPG\nland/train/2_sat.tiff\n",
        b"data\\land\\1_sat.jpg\r\n2",
    ],
)
def test_ids_and_names_of_files_mean_the_same_scenes(tmp_path, data):
    (tmp_path / "list.txt").write_bytes(data)
    assert read_leave_out(tmp_path / "list.txt", LAND) == {"1", "2"}


def test_names_of_files_go_by_the_data_sets_patterns(tmp_path):
    (tmp_path / "list.txt").write_text("7.png\nimages/8.png\n9\n")
    dataset = changed(LAND, images=["images/*.png"], masks=["masks/*.png"])
    assert read_leave_out(tmp_path / "list.txt", dataset) == {"7", "8", "9"}


def test_letters_with_accents_apart_are_the_same_id(tmp_path):
    (tmp_path / "list.txt").write_text(unicodedata.normalize("NFD", "café\nä_sat.jpg\n"))
    assert read_leave_out(tmp_path / "list.txt", LAND) == {"café", "ä"}


def test_what_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "list.txt").write_bytes(codecs.BOM_UTF16_LE + "1\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"list\.txt: is not UTF-8 text .*; write one scene id a line"):
        read_leave_out(tmp_path / "list.txt", LAND)


def test_ids_of_no_scene_are_counted_and_one_is_named():
    assert unknown_line("bad.txt", {"1", "2"}, {"1", "2", "3"}) is None
    line = unknown_line("bad.txt", {"1", "x\ty", "z"}, {"1"})
    assert line == "bad.txt: 2 ids of no scene, as x\\ty: nothing is left out for it"
