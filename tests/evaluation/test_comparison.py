"""The scenes of a figure: chosen, read, shrunk."""

import cv2
import numpy as np
import pytest

from common.errors import DataError
from evaluation.comparison import LONGEST, read_rows, scenes_to_show
from inference.scene_maps import write_map
from tests.datasets import LAND, ROAD


def scene(folder, id, shape=(20, 30), label=0, image=True):
    write_map(folder / f"{id}_mask.png", np.full(shape, label, np.uint8), LAND, overwrite=True)
    if image:
        cv2.imwrite(str(folder / f"{id}_sat.png"), np.full((*shape, 3), (10, 20, 30), np.uint8))


@pytest.fixture
def folders(tmp_path):
    for id in ("1", "2", "3"):
        scene(tmp_path / "truth", id, label=1)
        scene(tmp_path / "a", id, label=2, image=False)
    scene(tmp_path / "b", "2", label=3, image=False)
    scene(tmp_path / "b", "3", label=3, image=False)
    return tmp_path / "truth", tmp_path / "truth", [tmp_path / "a", tmp_path / "b"]


def test_scenes_are_those_that_all_folders_have(folders):
    assert scenes_to_show(*folders, LAND, None, 10) == ["2", "3"]
    assert scenes_to_show(*folders, LAND, None, 1) == ["3"]
    assert scenes_to_show(*folders, LAND, ["3", "2"], 1) == ["3", "2"]


@pytest.mark.parametrize(
    "ids, rows, words",
    [(["1"], 4, r"b: has no mask of scene 1"), (None, 0, r"--rows: is 0; give 1 or more")],
)
def test_a_choice_that_cannot_be_met_is_named(folders, ids, rows, words):
    with pytest.raises(DataError, match=words):
        scenes_to_show(*folders, LAND, ids, rows)


def test_folders_without_a_common_scene_are_named(folders, tmp_path):
    scene(tmp_path / "c", "9", image=False)
    with pytest.raises(DataError, match="shares no scene"):
        scenes_to_show(folders[0], folders[1], [tmp_path / "c"], LAND, None, 4)


def test_a_row_holds_the_image_in_rgb_and_truth_before_predictions(folders):
    (row,) = read_rows(*folders, ["2"], LAND)
    assert row.image[0, 0].tolist() == [30, 20, 10]
    assert [labels.shape for labels in row.maps] == [(20, 30)] * 3
    assert [np.unique(labels).tolist() for labels in row.maps] == [[1], [2], [3]]


def test_large_scenes_are_shrunk_without_new_labels(tmp_path):
    scene(tmp_path, "1", (900, 1800))
    labels = np.random.default_rng(0).choice([0, 4, 255], (900, 1800)).astype(np.uint8)
    write_map(tmp_path / "1_mask.png", labels, LAND, overwrite=True)
    (row,) = read_rows(tmp_path, tmp_path, [tmp_path], ["1"], LAND)
    assert row.image.shape == (LONGEST // 2, LONGEST, 3)
    assert row.maps[0].shape == (LONGEST // 2, LONGEST)
    assert set(np.unique(row.maps[0])) == {0, 4, 255}


def test_a_map_of_another_size_and_a_missing_image_are_named(folders, tmp_path):
    scene(tmp_path / "b", "2", (9, 9), image=False)
    with pytest.raises(DataError, match=r"b/2_mask\.png: is 9x9, its image 30x20"):
        list(read_rows(*folders, ["2"], LAND))
    (tmp_path / "truth" / "3_sat.png").unlink()
    with pytest.raises(DataError, match="no image of scene 3"):
        list(read_rows(*folders, ["3"], LAND))


def test_a_map_of_other_classes_is_refused(folders, monkeypatch):
    images, truth, (maps, _) = folders
    monkeypatch.setattr("inference.prediction_manifest.map_dataset", lambda path, id: ROAD)
    with pytest.raises(DataError, match=r"is a map of 2 classes \(background, road\), not 6"):
        list(read_rows(images, truth, [maps], ["2"], LAND))
