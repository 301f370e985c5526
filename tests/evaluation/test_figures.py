"""The grid shows each colour where it belongs."""

import cv2
import numpy as np
import pytest

from common.datasets import IGNORE
from common.errors import DataError
from evaluation.comparison import ComparedScene
from evaluation.figures import DOTS, GAP, column_names, compare
from tests.datasets import LAND, changed


def row(labels, shape=(40, 40)):
    image = np.full((*shape, 3), 90, np.uint8)
    return ComparedScene("1", image, [np.full(shape, label, np.uint8) for label in labels])


def picture(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_columns_are_image_truth_predictions_in_rows_of_scenes(tmp_path):
    compare([row([1, 4]), row([3, 5], (20, 40))], ["model"], LAND, tmp_path / "f.png")
    pixels = picture(tmp_path / "f.png")
    width = pixels.shape[1]
    middles = [int(width * part) for part in (1 / 6, 1 / 2, 5 / 6)]
    expected = [
        [(90, 90, 90), LAND.palette[1], LAND.palette[4]],
        [(90, 90, 90), LAND.palette[3], LAND.palette[5]],
    ]
    for height, colours in zip((0.3, 0.75), expected, strict=True):
        line = pixels[int(pixels.shape[0] * height)]
        assert [tuple(line[x]) for x in middles] == colours
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"]


@pytest.mark.parametrize("columns", [1, 3])
def test_the_legend_has_all_classes_and_is_not_cut(tmp_path, columns):
    compare([row([IGNORE] * (columns + 1))], ["m"] * columns, LAND, tmp_path / "f.png")
    pixels = picture(tmp_path / "f.png")
    for colour in LAND.palette:  # the maps have none of them
        assert (pixels == colour).all(axis=2).sum() > 100, colour
    assert (pixels[-50:, [0, -1]] == 255).all()


def test_a_legend_of_many_classes_has_several_lines_below_the_pictures(tmp_path):
    classes = [{"name": f"class of land {k}", "values": [k]} for k in range(40)]
    many = changed(LAND, classes=classes, ignore={"colours": [[1, 2, 3]]})
    compare([row([IGNORE, IGNORE])], ["m"], many, tmp_path / "f.png")
    pixels = picture(tmp_path / "f.png")
    lowest = max(np.flatnonzero((pixels == (90, 90, 90)).all(axis=2).sum(axis=1) > 99))  # of the image
    for colour in many.palette:
        ys, xs = np.nonzero((pixels == colour).all(axis=2))
        assert len(xs) > 100
        assert ys.min() - lowest > GAP * DOTS
        assert 0 < xs.min() < xs.max() < pixels.shape[1] - 1


def test_names_are_one_for_each_folder(tmp_path):
    assert column_names([tmp_path / "a", tmp_path / "b"], None) == ["a", "b"]
    assert column_names([tmp_path / "a"], ["(a) Baseline"]) == ["(a) Baseline"]
    with pytest.raises(DataError, match="--names: 1 for 2 --pred folders"):
        column_names([tmp_path / "a", tmp_path / "b"], ["A"])
