"""Scenes are paired by name, split by id, and read or refused whole."""

import hashlib
import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.datasets import Dataset
from common.errors import DataError
from data_prep.read_options import ReadOptions
from data_prep.scene_pixels import open_scene
from data_prep.scenes import Scene, find_scenes, image_ids, is_id, scan_scenes, unused_line
from tests.datasets import ROAD

WHOLE = slice(None)


def add_scene(folder: Path, id: str, size: tuple[int, int] = (20, 30)) -> None:
    folder.mkdir(exist_ok=True)
    mask = np.zeros(size, np.uint8)
    mask[5] = 255
    cv2.imwrite(str(folder / f"{id}_sat.jpg"), np.full((*size, 3), (10, 200, 90), np.uint8))
    cv2.imwrite(str(folder / f"{id}_mask.png"), mask)


def test_pairs_of_several_folders_are_sorted_by_id_as_text(tmp_path):
    for folder, id in (("a", "9"), ("a", "10"), ("b", "1x")):
        add_scene(tmp_path / folder, id)
    (tmp_path / "a" / "notes.txt").write_text("not a scene")
    scenes = find_scenes([tmp_path / "a", tmp_path / "b"], ROAD)
    assert [scene.id for scene in scenes] == ["10", "1x", "9"]
    assert scenes[0] == Scene("10", tmp_path / "a/10_sat.jpg", tmp_path / "a/10_mask.png")


def test_a_scene_is_read_with_labels_and_checksums(tmp_path):
    add_scene(tmp_path, "7")
    [scene] = find_scenes([tmp_path], ROAD)
    with open_scene(scene, ROAD, ReadOptions()) as pixels:
        image, labels = (read(WHOLE, WHOLE) for read in (pixels.read_image, pixels.read_labels))
    assert image.shape == (20, 30, 3)
    assert np.abs(image.astype(int) - (10, 200, 90)).max() < 6  # BGR, through JPEG
    assert (labels == np.repeat([0] * 5 + [1] + [0] * 14, 30).reshape(20, 30)).all()
    assert pixels.mask_sha256 == hashlib.sha256((tmp_path / "7_mask.png").read_bytes()).hexdigest()


def lose_mask(folder):
    (folder / "2_mask.png").unlink()


def lose_image(folder):
    (folder / "2_sat.jpg").unlink()


def double_image(folder):
    cv2.imwrite(str(folder / "2_sat.png"), np.zeros((20, 30, 3), np.uint8))


@pytest.mark.parametrize(
    ("harm", "where", "fact"),
    [
        (lose_mask, "2_sat.jpg", "has no mask 2_mask.png"),
        (lose_image, "2_mask.png", "has no image"),
        (double_image, "2_sat.png", "scene 2 is also"),
    ],
)
def test_a_folder_with_loose_ends_is_refused(tmp_path, harm, where, fact):
    for id in "123":
        add_scene(tmp_path, id)
    harm(tmp_path)
    with pytest.raises(DataError) as caught:
        find_scenes([tmp_path], ROAD)
    assert caught.value.where == str(tmp_path / where)
    assert fact in caught.value.fact


def test_one_id_in_two_folders_is_refused(tmp_path):
    add_scene(tmp_path / "a", "1")
    add_scene(tmp_path / "b", "1")
    with pytest.raises(DataError, match="leave one of the two out"):
        find_scenes([tmp_path / "a", tmp_path / "b"], ROAD)


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        find_scenes([tmp_path / "nowhere"], ROAD)
    with pytest.raises(DataError, match=r"holds no .* or .*_sat\.tiff among 0 files"):
        find_scenes([tmp_path], ROAD)


def test_a_mask_of_another_size_is_refused(tmp_path):
    add_scene(tmp_path, "1")
    cv2.imwrite(str(tmp_path / "1_mask.png"), np.zeros((20, 31), np.uint8))
    [scene] = find_scenes([tmp_path], ROAD)
    with (
        pytest.raises(DataError, match=r"1_mask.png: is 31x20, its image 30x20"),
        open_scene(scene, ROAD, ReadOptions()),
    ):
        pass


def test_files_that_leave_the_folder_by_a_link_are_refused(tmp_path):
    add_scene(tmp_path / "outside", "9")
    add_scene(tmp_path / "a", "1")
    (tmp_path / "a" / "9_mask.png").symlink_to(tmp_path / "outside" / "9_mask.png")
    (tmp_path / "a" / "9_sat.jpg").symlink_to("1_sat.jpg")  # a link that stays inside is harmless
    with pytest.raises(DataError, match=r"9_mask\.png: links to .*outside"):
        find_scenes([tmp_path / "a"], ROAD)
    assert [scene.id for scene in find_scenes([tmp_path / "a"], ROAD, leave_out={"9"})] == ["1"]
    (tmp_path / "linked").symlink_to(tmp_path / "outside")  # the folder itself may be a link
    assert [scene.id for scene in find_scenes([tmp_path / "linked"], ROAD)] == ["9"]


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    add_scene(tmp_path, "1")
    (tmp_path / "1_sat.jpg").unlink()
    os.mkfifo(tmp_path / "1_sat.jpg")
    with pytest.raises(DataError, match=r"1_sat\.jpg: is not a regular file"):
        find_scenes([tmp_path], ROAD)
    (tmp_path / "1_sat.jpg").unlink()
    (tmp_path / "1_sat.jpg").symlink_to("1_sat.jpg")  # a circle
    with pytest.raises(DataError, match=r"1_sat\.jpg: is not a regular file"):
        find_scenes([tmp_path], ROAD)


@pytest.mark.parametrize("id", [" 1", "#1", "a\nb", "\x1b[2J", os.fsdecode(b"caf\xe9"), ""])
def test_names_that_make_no_id_are_refused_in_one_printable_line(tmp_path, id):
    assert not is_id(id)
    add_scene(tmp_path, "1")
    for ending in ("_sat.jpg", "_mask.png"):
        (tmp_path / f"1{ending}").rename(tmp_path / f"{id}{ending}")
    with pytest.raises(DataError, match="makes no scene id") as caught:
        find_scenes([tmp_path], ROAD)
    assert str(caught.value).isprintable()


def test_a_survey_goes_on_after_a_problem(tmp_path):
    for id in "123":
        add_scene(tmp_path, id)
    lose_mask(tmp_path)
    kinds = [type(found).__name__ for _, found in scan_scenes([tmp_path], ROAD)]
    assert kinds == ["Scene", "DataError", "Scene"]


def test_leaving_everything_out_is_an_error(tmp_path):
    add_scene(tmp_path, "1")
    with pytest.raises(DataError, match="--leave-out: leaves no scene"):
        find_scenes([tmp_path], ROAD, {"1"})


def own(**changes) -> Dataset:
    return Dataset.model_validate(ROAD.model_dump() | changes)


def test_names_are_found_by_the_data_sets_patterns_in_any_case(tmp_path):
    add_scene(tmp_path, "1")
    (tmp_path / "1_sat.jpg").rename(tmp_path / "1_SAT.JPG")
    (tmp_path / "1_mask.png").rename(tmp_path / "1_Mask.PNG")
    [scene] = find_scenes([tmp_path], ROAD)
    assert (scene.id, scene.image.name, scene.mask.name) == ("1", "1_SAT.JPG", "1_Mask.PNG")


def test_images_and_masks_may_stand_in_folders_of_their_own(tmp_path):
    add_scene(tmp_path, "7")
    for folder, name in (("images_png", "7_sat.jpg"), ("masks_png", "7_mask.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / name).rename(tmp_path / folder / f"7{Path(name).suffix}")
    dataset = own(images=["images_png/*.jpg"], masks=["masks_png/*.png"])
    [scene] = find_scenes([tmp_path], dataset)
    assert (scene.id, scene.image.name, scene.mask.name) == ("7", "7.jpg", "7.png")
    (tmp_path / "masks_png" / "7.png").unlink()
    with pytest.raises(DataError, match=r"7\.jpg: has no mask masks_png/7\.png"):
        find_scenes([tmp_path], dataset)


def test_the_closest_pattern_decides_what_a_file_is(tmp_path):
    add_scene(tmp_path, "7")
    (tmp_path / "7_sat.jpg").rename(tmp_path / "7.jpg")
    (tmp_path / "7_mask.png").rename(tmp_path / "7_gt.jpg")
    [scene] = find_scenes([tmp_path], own(images=["*.jpg"], masks=["*_gt.jpg"]))
    assert (scene.id, scene.image.name, scene.mask.name) == ("7", "7.jpg", "7_gt.jpg")


def test_names_with_accents_apart_and_together_are_one_scene(tmp_path):
    apart, together = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    assert apart != together
    add_scene(tmp_path, together)
    (tmp_path / f"{together}_mask.png").rename(tmp_path / f"{apart}_mask.png")
    [scene] = find_scenes([tmp_path], ROAD)
    assert (scene.id, scene.mask.name) == (together, f"{apart}_mask.png")
    assert image_ids([tmp_path], ROAD) == {together}
    (tmp_path / f"{together}_sat.jpg").rename(tmp_path / f"{apart}_sat.jpg")
    assert [scene.id for scene in find_scenes([tmp_path], ROAD)] == [together]
    add_scene(tmp_path, together)
    with pytest.raises(DataError, match="scene café is also"):
        find_scenes([tmp_path], ROAD)


def test_what_macos_writes_beside_files_is_no_scene(tmp_path):
    add_scene(tmp_path, "1")
    for ending in ("_sat.jpg", "_mask.png"):
        (tmp_path / f"._1{ending}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    assert [scene.id for scene in find_scenes([tmp_path], ROAD)] == ["1"]
    assert image_ids([tmp_path], ROAD) == {"1"}
    assert "2 files left out, as " in unused_line([tmp_path], ROAD)


def test_pictures_whose_names_almost_fit_are_counted_and_one_is_named(tmp_path):
    add_scene(tmp_path, "1")
    assert unused_line([tmp_path], ROAD) is None
    for name in ("1_preview.png", "1_hedges.tif"):  # of a scene that is there
        (tmp_path / name).touch()
    assert unused_line([tmp_path], ROAD) is None
    for name in ("10_sat.webp", "3_satellite.jpg", "4_sat.jpg ", "notes.txt", "1_sat.tfw"):
        (tmp_path / name).touch()
    assert unused_line([tmp_path], ROAD) == (
        f"3 files left out, as {tmp_path}/10_sat.webp: not a name of deepglobe_road "
        "(*_sat.jpg, *_sat.jpeg, *_sat.png, *_sat.tif, *_sat.tiff, *_mask.png, *_mask.tif, *_mask.tiff)"
    )


@pytest.mark.parametrize(("image", "mask"), [("1_sat.JPG", "1_mask.PNG"), ("1_Sat.TIFF", "1_MASK.tif")])
def test_endings_in_any_case_are_found_and_none_is_left_over(tmp_path, image, mask):
    (tmp_path / image).touch()
    (tmp_path / mask).touch()
    [scene] = find_scenes([tmp_path], ROAD)
    assert (scene.image.name, scene.mask.name) == (image, mask)
    assert unused_line([tmp_path], ROAD) is None
