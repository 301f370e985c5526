"""Files and folders to scenes and pairs of masks."""

import pytest

from common.errors import DataError
from inference.scene_files import evenly_spaced, find_images, find_maps, find_true_masks, pair_masks
from tests.datasets import LAND


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_a_folder_means_its_sat_images_sorted(tmp_path):
    folder = touch(tmp_path / "scenes", "2_sat.jpg", "10_sat.png", "2_mask.png", "notes.txt", "other.png")
    assert [(s.id, s.path.name) for s in find_images([folder], LAND)] == [
        ("10", "10_sat.png"),
        ("2", "2_sat.jpg"),
    ]


def test_a_folder_without_sat_images_means_all_images_but_masks(tmp_path):
    folder = touch(tmp_path / "scenes", "b.JPG", "a.png", "a_mask.png", "notes.txt")
    assert [s.id for s in find_images([folder], LAND)] == ["a", "b"]


def test_files_and_folders_mix_in_the_order_given(tmp_path):
    folder = touch(tmp_path / "scenes", "7_sat.jpg")
    (tmp_path / "field.jpeg").touch()
    assert [s.id for s in find_images([tmp_path / "field.jpeg", folder], LAND)] == ["field", "7"]


def test_two_images_of_one_id_would_share_a_map_and_are_refused(tmp_path):
    a, b = touch(tmp_path / "a", "7_sat.jpg"), touch(tmp_path / "b", "7_sat.png")
    with pytest.raises(DataError, match=r"b/7_sat\.png: has the id 7 of .*a/7_sat\.jpg"):
        find_images([a, b], LAND)


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        find_images([tmp_path / "nowhere"], LAND)
    with pytest.raises(DataError, match=r"empty: holds no image"):
        find_images([touch(tmp_path / "empty", "notes.txt")], LAND)


@pytest.mark.parametrize(
    "name, id",
    [
        ("12_sat.jpg", "12"),
        ("a.b.png", "a.b"),
        ("a_sat.tiff", "a"),
        ("A_SAT.TIF", "A"),
        ("field.jpeg", "field"),
    ],
)
def test_ids_come_from_the_data_sets_names(tmp_path, name, id):
    (tmp_path / name).touch()
    assert [scene.id for scene in find_images([tmp_path / name], LAND)] == [id]


def test_masks_are_paired_by_id(tmp_path):
    truth = touch(tmp_path / "truth", "1_mask.png", "2_mask.png", "1_sat.jpg")
    predicted = touch(tmp_path / "predicted", "2_mask.png", "1_mask.png")
    pairs = pair_masks(truth, predicted, LAND)
    assert [pair.id for pair in pairs] == ["1", "2"]
    assert all(pair.truth.parent == truth and pair.predicted.parent == predicted for pair in pairs)


def test_a_missing_prediction_is_named_and_the_others_counted(tmp_path):
    truth = touch(tmp_path / "truth", "1_mask.png", "2_mask.png", "3_mask.png")
    predicted = touch(tmp_path / "predicted", "3_mask.png")
    with pytest.raises(
        DataError, match=r"predicted: lacks the prediction of scene 1 and 1 more; .*--only-predicted"
    ):
        pair_masks(truth, predicted, LAND)
    assert [pair.id for pair in pair_masks(truth, predicted, LAND, only_predicted=True)] == ["3"]


@pytest.mark.parametrize("only_predicted", [True, False])
def test_a_prediction_without_truth_is_named(tmp_path, only_predicted):
    truth = touch(tmp_path / "truth", "1_mask.png")
    predicted = touch(tmp_path / "predicted", "1_mask.png", "2_mask.png")
    with pytest.raises(DataError, match=r"truth: lacks the true mask of scene 2"):
        pair_masks(truth, predicted, LAND, only_predicted)


def test_a_folder_without_masks_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no \*_mask\.png"):
        find_maps(touch(tmp_path / "empty"))
    with pytest.raises(DataError, match="is not a folder"):
        find_maps(tmp_path / "nowhere")


def test_class_rasters_are_masks_too_but_not_both_of_one_id(tmp_path):
    folder = touch(tmp_path / "maps", "2_mask.tif", "1_mask.png", "1_sat.tif")
    assert {id: path.name for id, path in find_maps(folder).items()} == {
        "1": "1_mask.png",
        "2": "2_mask.tif",
    }
    with pytest.raises(DataError, match=r"2_mask\.tif: has the id 2 of 2_mask\.png"):
        find_maps(touch(folder, "2_mask.png"))
    assert list(find_maps(touch(tmp_path / "more", "7_mask.tiff"))) == ["7"]
    with pytest.raises(DataError, match=r"7_mask\.tiff: has the id 7 of 7_mask\.tif"):
        find_maps(touch(tmp_path / "more", "7_mask.tif"))


def test_truth_is_found_by_the_data_sets_patterns(tmp_path):
    folder = touch(tmp_path / "scenes", "1_sat.jpg", "1_MASK.PNG", "2_mask.tif")
    assert {id: path.name for id, path in find_true_masks(folder, LAND).items()} == {
        "1": "1_MASK.PNG",
        "2": "2_mask.tif",
    }


def test_picked_ids_are_spread_evenly():
    ids = [str(number) for number in range(10)]
    assert list(evenly_spaced(ids, 2)) == ["2", "7"]
    assert list(evenly_spaced(ids, 5)) == ["1", "3", "5", "7", "9"]
    assert list(evenly_spaced(ids, 50)) == ids
