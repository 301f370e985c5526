"""A data set's file: classes that can be told apart, patterns, bands; what is wrong is named in one line."""

from pathlib import Path

import pytest

from common.datasets import DATASETS, Dataset, display_bands, read_dataset
from common.errors import ExperimentError

VALID = """
title = "Fields"
images = ["*.tif"]
masks = ["labels/*.png"]
bands = ["blue", "green", "red", "nir"]
resize = [0.5, 2]
classes = [
    { name = "wheat", colour = [200, 180, 40] },
    { name = "maize", values = [2, 12] },
    { name = "fallow land", colour = [120, 90, 60], values = [3] },
]
[ignore]
values = [0]
"""


def read(folder: Path, *edits: tuple[str, str]) -> Dataset:
    text = VALID
    for old, new in edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "fields.toml").write_text(text)
    return read_dataset("fields.toml", folder)


def test_a_data_set_is_read_with_its_defaults(tmp_path):
    fields = read(tmp_path)
    assert (fields.name, fields.title) == ("fields", "Fields")
    assert fields.class_names == ("wheat", "maize", "fallow land")
    assert fields.label_names == ("wheat", "maize", "fallow land", "ignored")
    assert fields.labels_of_values == {2: 1, 12: 1, 3: 2, 0: 255}
    assert fields.tolerance == 32


def test_a_colour_may_be_hexadecimal_and_color_is_corrected(tmp_path):
    written = "colour = [200, 180, 40]"
    assert read(tmp_path, (written, 'colour = "#C8b428"')).palette[0] == (200, 180, 40)
    with pytest.raises(
        ExperimentError, match=r"classes\.wheat\.colour: 'yellow' is not a colour; give \[255"
    ):
        read(tmp_path, (written, 'colour = "yellow"'))
    with pytest.raises(ExperimentError, match=r"classes\.wheat\.color is not to be given; write colour$"):
        read(tmp_path, (written, "color = [200, 180, 40]"))


def test_a_class_without_a_colour_gets_one_that_no_other_has(tmp_path):
    palette = read(tmp_path).palette
    assert (palette[0], palette[2]) == ((200, 180, 40), (120, 90, 60))
    assert len({*palette, (0, 0, 0)}) == 4


def test_254_classes_of_values_have_254_colours(tmp_path):
    classes = ", ".join(f'{{ name = "c{k}", values = [{k}] }}' for k in range(254))
    text = VALID[: VALID.index("classes")] + f"classes = [{classes}]\n"
    (tmp_path / "many.toml").write_text(text)
    many = read_dataset("many.toml", tmp_path)
    assert len({*many.palette, many.ignored_colour}) == 255
    (tmp_path / "many.toml").write_text(text[:-2] + ', { name = "more", values = [254] }]\n')
    with pytest.raises(ExperimentError, match=r"many\.toml: classes has 255 entries; give at most 254"):
        read_dataset("many.toml", tmp_path)


@pytest.mark.parametrize("path", sorted(DATASETS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_data_sets_of_the_checkout_are_valid(path):
    assert read_dataset(path.stem) == read_dataset(path)


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ('"maize"', '"wheat"', "two classes are named wheat"),
        ('"maize"', '"ignored"', "two classes are named ignored"),
        ('"maize"', '"no data"', "class no data has the name of pixels without a class"),
        ('"maize"', '"rye, oat"', "'rye, oat' is not a name"),
        ("title = ", 'title = "a\\nb" #', "'a\\nb' is not a title"),
        ("title = ", f"x = {'[' * 5000}{']' * 5000}\ntitle = ", "is not TOML (maximum recursion depth"),
        ("[120, 90, 60]", "[200, 180, 40]", "wheat and fallow land have one colour, [200, 180, 40]"),
        ("[120, 90, 60]", "[200, 180, 90]", "are 50 grey levels apart, and tolerance 32 needs more than 64"),
        ("[120, 90, 60]", "[120, 90, 256]", "classes.fallow land.colour.2 = 256"),
        ("values = [3]", "values = [12]", "value 12 stands twice, for maize and fallow land"),
        ("values = [0]", "values = [2]", "value 2 stands twice, for maize and ignored"),
        (", values = [2, 12]", "", "class maize has neither colour nor values"),
        ("values = [2, 12]", "values = [1.5]", "classes.maize.values.0 = 1.5"),
        ("values = [2, 12]", "value = 2", "unknown key classes.maize.value"),
        ('"nir"', '"red"', "names a band twice"),
        ('"nir"', '"near infrared"', "'near infrared' is not a band's name"),
        ('"*.tif"', '"sat.tif"', "'sat.tif' is not a pattern"),
        ('"*.tif"', '"../*.tif"', "'../*.tif' is not a pattern"),
        ('"labels/*.png"', '"*.tif"', "the pattern '*.tif' is one of images and of masks"),
        ("[0.5, 2]", "[2, 0.5]", "[2.0, 0.5] is not a range"),
        ('title = "Fields"', "", "key title is missing"),
        ('title = "Fields"', 'name = "x"', "gives the key name"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, old, new, fact):
    with pytest.raises(ExperimentError) as caught:
        read(tmp_path, (old, new))
    assert caught.value.where == str(tmp_path / "fields.toml")
    assert fact in caught.value.fact
    assert "\n" not in str(caught.value)


def test_colours_that_are_near_are_taken_with_a_smaller_tolerance(tmp_path):
    near = ("[120, 90, 60]", "[200, 180, 90]")
    assert read(tmp_path, near, ("resize", "tolerance = 24\nresize")).tolerance == 24
    with pytest.raises(ExperimentError, match="give a tolerance of at most 24"):
        read(tmp_path, near)


def test_a_mapping_of_version_1_is_refused_with_the_new_spelling(tmp_path):
    (tmp_path / "mapping.toml").write_text(
        '[values]\n1 = "urban"\n2 = "water"\n40 = "urban"\n99 = "ignore"\n'
    )
    with pytest.raises(ExperimentError, match=r"mapping\.toml: is a mapping of version 1\.0") as caught:
        read_dataset("mapping.toml", tmp_path)
    assert '{ name = "urban", values = [1, 40] }; { name = "water", values = [2] }' in caught.value.remedy
    assert "under [ignore], values = [99]" in caught.value.remedy
    assert '"ignore"' not in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_missing_data_set_lists_the_known_ones():
    with pytest.raises(
        ExperimentError, match=r"nothing\.toml: cannot be read .*deepglobe_land, deepglobe_road\), or a path"
    ):
        read_dataset("nothing")


@pytest.mark.parametrize(
    ("bands", "shown"),
    [
        (("nir", "blue", "green", "red"), ("red", "green", "blue")),
        (("a", "b", "c", "d"), ("a", "b", "c")),
        (("pan",), ("pan",)),
        (("vv", "vh"), ("vv",)),
    ],
)
def test_figures_show_red_green_and_blue_else_the_first_bands(bands, shown):
    assert display_bands(bands) == shown


def test_a_byte_order_mark_and_windows_line_ends_are_passed_over(tmp_path):
    (tmp_path / "fields.toml").write_bytes(VALID.replace("\n", "\r\n").encode("utf-8-sig"))
    assert read_dataset("fields.toml", tmp_path) == read(tmp_path)
