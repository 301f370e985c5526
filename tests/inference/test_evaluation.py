"""Folders of masks to numbers and a table."""

import json

import numpy as np
import pytest

from data_prep.classes import TASKS
from inference.evaluation import as_numbers, evaluate, table
from inference.folders import pair_masks
from inference.masks import write_map
from prototxt_gen.errors import DataError

LAND = TASKS["land"]
URBAN, FIELD, RANGE, FOREST, WATER, BARREN = range(6)


@pytest.fixture
def folders(tmp_path):
    """Two scenes: 10 scored pixels, of which 8 are right, and two unknown ones."""
    masks = {
        "truth/1": [[FIELD, FIELD, FIELD], [WATER, WATER, 255]],
        "maps/1": [[FIELD, FIELD, WATER], [WATER, WATER, FIELD]],
        "truth/2": [[FIELD, FIELD], [FOREST, FOREST], [FIELD, 255]],
        "maps/2": [[FIELD, FIELD], [FOREST, 255], [FIELD, FOREST]],
    }
    for name, labels in masks.items():
        write_map(tmp_path / f"{name}_mask.png", np.array(labels, np.uint8), LAND)
    return tmp_path / "truth", tmp_path / "maps"


def test_all_pixels_of_all_scenes_count_alike(folders):
    result = evaluate(pair_masks(*folders), LAND)
    assert result.measured.pixels == 10
    assert result.measured.accuracy == pytest.approx(8 / 10)
    # agriculture: 5 of 6, none claimed wrongly; forest: 1 of 2; water: 2 of 2 with one claimed wrongly
    expected = [np.nan, 5 / 6, np.nan, 1 / 2, 2 / 3, np.nan]
    np.testing.assert_allclose(result.measured.iou, expected)
    assert result.measured.miou == pytest.approx(2 / 3)
    assert list(result.matrices) == ["1", "2"]


def test_the_commonest_class_alone_is_the_measure(folders):
    result = evaluate(pair_masks(*folders), LAND)
    assert result.commonest == "agriculture"
    assert result.constant.miou == pytest.approx(0.6 / 3)
    assert result.constant.accuracy == pytest.approx(0.6)
    assert result.ratio == pytest.approx((2 / 3) / 0.2)


def test_the_table_names_absent_classes_and_the_measure(folders):
    lines = table(evaluate(pair_masks(*folders), LAND)).splitlines()
    assert lines[0] == "2 scenes, 10 scored pixels, land"
    assert "urban          absent     0.00" in lines
    assert "agriculture     83.33    60.00" in lines
    words = [line.split() for line in lines]
    assert ["mIoU", "66.67", "%", "(urban,", "rangeland,", "barren", "left", "out:"] in [w[:8] for w in words]
    assert ["always", "agriculture", "20.00", "%", "mIoU,", "60.00", "%", "accuracy"] in words
    assert ["ratio", "3.33", "times"] in [w[:3] for w in words]


def test_the_numbers_are_json_without_nan(folders):
    numbers = as_numbers(evaluate(pair_masks(*folders), LAND))
    numbers = json.loads(json.dumps(numbers, allow_nan=False))
    assert numbers["iou"]["urban"] is None
    assert numbers["iou"]["forest"] == 0.5
    assert numbers["absent"] == ["urban", "rangeland", "barren"]
    assert numbers["always_commonest"]["class"] == "agriculture"
    assert numbers["confusion"]["columns_predicted"][-1] == "unknown"
    assert np.sum(numbers["confusion"]["pixels"]) == 10
    assert numbers["confusion"]["pixels"][FOREST][6] == 1


def test_a_prediction_of_another_size_is_named_with_both_sizes(folders):
    write_map(folders[1] / "2_mask.png", np.zeros((4, 2), np.uint8), LAND, overwrite=True)
    with pytest.raises(DataError, match=r"maps/2_mask\.png: is 2x4, the truth 2x3"):
        evaluate(pair_masks(*folders), LAND)


def test_truth_without_any_class_is_named(tmp_path):
    for folder in ("truth", "maps"):
        write_map(tmp_path / folder / "1_mask.png", np.full((2, 2), 255, np.uint8), LAND)
    with pytest.raises(DataError, match="truth: has unknown pixels only"):
        evaluate(pair_masks(tmp_path / "truth", tmp_path / "maps"), LAND)
