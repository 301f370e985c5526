"""Folders of masks to numbers, tables and files."""

import csv
import io
import json

import cv2
import numpy as np
import pytest

from common.errors import DataError
from evaluation import evaluation
from evaluation.evaluation import dataset_of_maps, evaluate, pair_folders
from evaluation.intervals import Bootstrap
from evaluation.matrix_figure import draw_matrices
from evaluation.score_files import as_comparison, as_csv, as_numbers
from evaluation.score_text import comparison, table
from inference.prediction_manifest import publish
from inference.scene_files import pair_masks
from inference.scene_maps import write_map
from tests.data_prep.test_label_files import write_raster
from tests.datasets import LAND, ROAD, changed

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
    result = evaluate(pair_masks(*folders, LAND), LAND)
    assert result.measured.pixels == 10
    assert result.measured["accuracy"] == pytest.approx(8 / 10)
    # agriculture: 5 of 6, none claimed wrongly; forest: 1 of 2; water: 2 of 2 with one claimed wrongly
    expected = [np.nan, 5 / 6, np.nan, 1 / 2, 2 / 3, np.nan]
    np.testing.assert_allclose(result.measured["iou"], expected)
    assert result.measured["miou"] == pytest.approx(2 / 3)
    assert list(result.matrices) == ["1", "2"]


def test_a_map_of_other_classes_is_refused_where_its_record_says_so(folders, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    road = np.array([[1, 0, 0], [1, 1, 0]], np.uint8)
    write_map(work / "1_mask.png", road, ROAD)
    publish(folders[1], work, "1", ["1_mask.png"], {"task": "road"}, dataset=ROAD.model_dump(mode="json"))
    words = r"1_mask.png: is a map of 2 classes \(background, road\), not 6 .*; give maps of deepglobe_land"
    with pytest.raises(DataError, match=words):
        evaluate(pair_masks(*folders, LAND), LAND)
    assert dataset_of_maps([folders[1]], None) == ROAD
    assert dataset_of_maps([folders[1]], "deepglobe_land") == LAND
    (folders[1] / "1_mask.png").unlink()
    write_map(folders[1] / "1_mask.png", road, LAND)  # somebody's own file, of which the record says nothing
    assert evaluate(pair_masks(*folders, LAND), LAND).measured.pixels == 10
    with pytest.raises(DataError, match="maps: has no manifest of these maps; name it by --dataset"):
        dataset_of_maps([folders[1]], None)


def test_the_commonest_class_alone_is_the_measure(folders):
    result = evaluate(pair_masks(*folders, LAND), LAND)
    assert result.commonest == "agriculture"
    assert result.constant["miou"] == pytest.approx(0.6 / 3)
    assert result.constant["accuracy"] == pytest.approx(0.6)
    assert result.ratio == pytest.approx((2 / 3) / 0.2)


def test_the_table_names_absent_classes_and_the_measure(folders):
    lines = table(evaluate(pair_masks(*folders, LAND), LAND)).splitlines()
    assert lines[0] == "2 scenes, 10 scored pixels, DeepGlobe land cover"
    words = [line.split() for line in lines]
    assert ["urban", "absent", "nan", "nan", "nan", "0.00"] in words
    assert ["agriculture", "83.33", "100.00", "83.33", "90.91", "60.00"] in words
    assert ["mIoU", "66.67", "%"] in [w[:3] for w in words]
    assert "left out of the mean: urban, rangeland, barren (neither in truth nor predicted)" in lines
    assert "in brackets: 95 % interval over scenes, 1000 bootstrap resamples, seed 0" in lines
    assert "2 scenes are few: the intervals are too narrow" in lines
    assert ["always", "agriculture", "20.00", "%", "mIoU,", "60.00", "%", "accuracy"] in words
    assert ["ratio", "3.33", "times"] in [w[:3] for w in words]


def test_the_numbers_are_json_without_nan(folders):
    numbers = as_numbers(evaluate(pair_masks(*folders, LAND), LAND))
    numbers = json.loads(json.dumps(numbers, allow_nan=False))
    assert numbers["iou"]["urban"] is None
    assert numbers["iou"]["forest"] == 0.5
    assert numbers["absent"] == ["urban", "rangeland", "barren"]
    assert numbers["intervals"]["warning"] == "2 scenes are few: the intervals are too narrow"
    assert numbers["always_commonest"]["class"] == "agriculture"
    assert numbers["confusion"]["columns_predicted"][-1] == "unknown"
    named = changed(
        LAND,
        ignore={"colours": [(0, 0, 0)]},
        classes=[{**LAND.classes[0].model_dump(), "name": "unknown"}, *LAND.classes[1:]],
    )
    columns = as_numbers(evaluate(pair_masks(*folders, named), named))["confusion"]["columns_predicted"]
    assert (columns[0], columns[-1]) == ("unknown", "no data")
    assert np.sum(numbers["confusion"]["pixels"]) == 10
    assert numbers["confusion"]["pixels"][FOREST][6] == 1


def test_a_prediction_of_another_size_is_named_with_both_sizes(folders):
    write_map(folders[1] / "2_mask.png", np.zeros((4, 2), np.uint8), LAND, overwrite=True)
    with pytest.raises(DataError, match=r"maps/2_mask\.png: is 2x4, the truth 2x3"):
        evaluate(pair_masks(*folders, LAND), LAND)


def test_truth_without_any_class_is_named(tmp_path):
    for folder in ("truth", "maps"):
        write_map(tmp_path / folder / "1_mask.png", np.full((2, 2), 255, np.uint8), LAND)
    with pytest.raises(DataError, match="truth: has only pixels that are unknown"):
        evaluate(pair_masks(tmp_path / "truth", tmp_path / "maps", LAND), LAND)


def test_class_rasters_are_scored_as_the_same_maps_in_colours(folders, tmp_path):
    colours = evaluate(pair_masks(*folders, LAND), LAND)
    rasters = tmp_path / "rasters"
    rasters.mkdir()
    for path in sorted(folders[1].iterdir()):
        labels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        numbers = np.full(labels.shape[:2], 255, np.uint8)
        for label, colour in enumerate(LAND.palette):
            numbers[(labels == colour).all(axis=2)] = label
        write_raster(rasters / path.name.replace(".png", ".tif"), numbers)
    scored = evaluate(pair_masks(folders[0], rasters, LAND), LAND)
    np.testing.assert_array_equal(scored.measured.matrix, colours.measured.matrix)


def test_windows_cover_every_pixel_once(folders, monkeypatch):
    whole = evaluate(pair_masks(*folders, LAND), LAND)
    monkeypatch.setattr(evaluation, "WINDOW", 2)
    windows = evaluate(pair_masks(*folders, LAND), LAND)
    np.testing.assert_array_equal(windows.measured.matrix, whole.measured.matrix)


def test_intervals_stand_in_the_numbers_with_how_they_were_drawn(folders):
    result = evaluate(pair_masks(*folders, LAND), LAND, bootstrap=Bootstrap(200, seed=7))
    intervals = as_numbers(result)["intervals"]
    assert intervals["level"] == 0.95
    assert (intervals["resamples"], intervals["seed"]) == (200, 7)
    assert intervals["miou"] == pytest.approx([2 / 3, 3 / 4])  # scene 1 or both, scene 2
    assert intervals["iou"]["urban"] is None
    one = evaluate(pair_masks(*folders, LAND)[:1], LAND)
    assert as_numbers(one)["intervals"] is None
    assert "no intervals" in table(one)


@pytest.fixture
def three(folders, tmp_path):
    """The maps, the truth itself, and maps that say agriculture everywhere."""
    truth, maps = folders
    for id, shape in (("1", (2, 3)), ("2", (3, 2))):
        write_map(tmp_path / "fields" / f"{id}_mask.png", np.full(shape, FIELD, np.uint8), LAND)
    paired = pair_folders(truth, [maps, truth, tmp_path / "fields"], LAND)
    names = ("maps", "truth", "fields")
    return {name: evaluate(pairs, LAND) for name, pairs in zip(names, paired, strict=True)}


def test_a_row_for_each_set_of_maps(three):
    words = [line.split() for line in comparison(three).splitlines()]
    rows = {line[0]: line for line in words if line and line[0] in three}
    assert list(rows) == ["maps", "truth", "fields"]
    assert [rows[name][1] for name in rows] == ["66.67", "100.00", "20.00"]
    assert rows["truth"][4] == "+33.33"
    assert rows["fields"][4] == "-46.67"


def test_the_lead_is_over_the_first_on_the_same_draws(three):
    numbers = as_comparison(three)
    assert numbers["first"] == "maps"
    assert numbers["maps"]["maps"]["lead"] == {"miou": 0, "interval": [0, 0]}
    lead = numbers["maps"]["truth"]["lead"]
    assert lead["miou"] == pytest.approx(1 / 3)
    # Draws of one scene twice, or both: 1 minus the mIoU of each.
    alone = [1 - evaluation.scores(m)["miou"] for m in three["maps"].matrices.values()]
    assert lead["interval"] == pytest.approx([min(*alone, 1 / 3), max(*alone, 1 / 3)])
    assert numbers["maps"]["maps"]["miou"] == as_numbers(three["maps"])["miou"]


def test_the_csv_holds_the_numbers(three):
    lines = list(csv.DictReader(io.StringIO(as_csv(three))))
    values = {(line["maps"], line["score"], line["class"]): line for line in lines}
    assert len(values) == len(lines)
    numbers = as_comparison(three)["maps"]
    for (maps, score, name), line in values.items():
        expected = numbers[maps][score][name] if name else numbers[maps][score]
        assert line["value"] == ("" if expected is None else str(expected))
    assert values["maps", "iou", "urban"]["value"] == ""
    low, high = numbers["maps"]["intervals"]["miou"]
    assert (values["maps", "miou", ""]["low"], values["maps", "miou", ""]["high"]) == (str(low), str(high))


def test_maps_of_other_scenes_do_not_compare(folders, tmp_path):
    write_map(tmp_path / "few" / "2_mask.png", np.zeros((3, 2), np.uint8), LAND)
    with pytest.raises(DataError, match="few: has no prediction of scene 1"):
        pair_folders(folders[0], [folders[1], tmp_path / "few"], LAND, only_predicted=True)


def test_the_figure_is_dark_where_the_shares_are_large(three, tmp_path):
    """The panel of the truth itself: its diagonal is dark where a class is there, the rest is not."""
    draw_matrices({"truth": three["truth"]}, tmp_path / "matrix.png")
    grey = cv2.cvtColor(cv2.imread(str(tmp_path / "matrix.png")), cv2.COLOR_BGR2GRAY)
    dark = cv2.connectedComponentsWithStats((grey < 60).astype(np.uint8), connectivity=4)[2][1:]
    squares = [box for box in dark.tolist() if box[2] > 80 and box[3] > 80]
    assert len(squares) == 3  # agriculture, forest, water
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(sorted(squares), sorted(squares)[1:], strict=False)]
    assert [(round(right / 104), round(down / 104)) for right, down in steps] == [(2, 2), (1, 1)]
