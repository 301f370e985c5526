"""The mapping file: numbers become classes, nodata is ignored, and nothing is guessed."""

import numpy as np
import pytest

from common.errors import DataError
from data_prep.classes import TASKS
from data_prep.label_values import read_label_values

LAND = TASKS["land"]


def write(folder, text: str):
    path = folder / "mapping.toml"
    path.write_text(text)
    return path


def test_numbers_become_labels_and_nodata_is_ignored(tmp_path):
    text = '[values]\n-3 = "water"\n1 = "urban"\n40 = "agriculture"\n41 = "agriculture"\n70000 = "ignore"\n'
    values = read_label_values(write(tmp_path, text), LAND)
    numbers = np.array([[1, 40, 41], [-3, 70000, 99]], np.int32)
    nodata = np.array([[False, False, False], [False, False, True]])
    labels = values.apply(numbers, nodata, "a.tif")
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 1, 1], [4, 255, 255]]
    assert values.names(LAND)["40"] == "agriculture"
    assert values.names(LAND)["70000"] == "ignore"


def test_a_number_without_a_class_is_named(tmp_path):
    values = read_label_values(write(tmp_path, '[values]\n1 = "urban"\n'), LAND)
    numbers = np.array([[1, 7, 7]], np.uint8)
    with pytest.raises(DataError, match=r'a\.tif: holds 7 \(2 pixels .*\); add 7 = "<class>"'):
        values.apply(numbers, np.zeros((1, 3), bool), "a.tif")


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
def test_integers_of_every_width_give_the_same_labels(tmp_path, kind):
    least, most = max(np.iinfo(kind).min, -(2**31)), min(np.iinfo(kind).max, 2**32 - 1)
    text = f'[values]\n{least} = "water"\n7 = "urban"\n{most} = "ignore"\n'
    values = read_label_values(write(tmp_path, text), LAND)
    numbers = np.array([[least, 7, most, 8]], kind)
    nodata = np.array([[False, False, False, True]])
    assert values.apply(numbers, nodata, "a.tif").tolist() == [[4, 0, 255, 255]]
    with pytest.raises(DataError, match=r"a\.tif: holds 8 \(1 pixels"):
        values.apply(numbers, nodata & False, "a.tif")


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("values", "is no TOML"),
        ("", "has no [values]"),
        ("[values]\n", "has no [values]"),
        ('values = "x"\n', "has no [values]"),
        ('[values]\n1 = "urban"\n[more]\n', "has the keys more beside [values]"),
        ('[values]\n1 = "castle"\n', "1 = 'castle' is no class"),
        ("[values]\n1 = 2\n", "1 = 2 is no class"),
        ('[values]\none = "urban"\n', "key 'one' is no integer"),
        ('[values]\n99999999999 = "urban"\n', "is no integer of 32 bits"),
        ('[values]\n7 = "urban"\n07 = "water"\n', "has a number twice"),
    ],
)
def test_broken_mappings_are_named(tmp_path, text, fact):
    with pytest.raises(DataError, match=r"mapping\.toml: ") as caught:
        read_label_values(write(tmp_path, text), LAND)
    assert fact in caught.value.fact


def test_a_missing_mapping_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml: cannot be read"):
        read_label_values(tmp_path / "none.toml", LAND)
