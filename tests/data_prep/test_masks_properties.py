"""Classes of any colours and numbers: there and back, exact, and as compression leaves them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.datasets import IGNORE, Dataset
from common.errors import DataError
from data_prep.masks import (
    check_labels,
    colours_from_labels,
    labels_from_colours,
    labels_from_exact_colours,
    labels_from_numbers,
)
from tests.datasets import LAND, changed

colours = st.tuples(*[st.integers(0, 255)] * 3)
numbers = st.integers(-(2**31), 2**31 - 1)


def apart(first: tuple, second: tuple) -> int:
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


@st.composite
def data_sets(draw, all_coloured: bool = False) -> Dataset:
    """Two to six classes, of colours far enough apart; unless `all_coloured`, some have a number alone."""
    count, tolerance = draw(st.integers(2, 6)), draw(st.integers(0, 40))
    drawn = draw(st.lists(colours, min_size=count + 1, max_size=count + 1))
    assume(all(apart(a, b) > 2 * tolerance for at, a in enumerate(drawn) for b in drawn[:at]))
    classes = [{"name": f"c{label}", "colour": colour} for label, colour in enumerate(drawn[:-1])]
    if not all_coloured:
        for label in draw(st.sets(st.integers(0, count - 1))):
            classes[label] = {"name": f"c{label}", "values": [label + 10]}
    ignored = {"colours": drawn[-1:]} if draw(st.booleans()) or all_coloured else {}
    return changed(LAND, classes=classes, tolerance=tolerance, ignore=ignored)


def labels_of(dataset: Dataset, ignored: bool = True):
    known = [*range(len(dataset.classes)), *([IGNORE] if ignored else [])]
    return arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 5)), elements=st.sampled_from(known))


@given(data_sets(), st.data())
def test_a_map_in_colours_is_read_as_it_was_painted(dataset, data):
    has_own = dataset.ignored_colour not in dataset.palette  # else pixels without data look like that class
    labels = data.draw(labels_of(dataset, ignored=has_own))
    painted = colours_from_labels(labels, dataset)
    shown = dict(enumerate(dataset.palette)) | {IGNORE: dataset.ignored_colour}
    assert painted.reshape(-1, 3).tolist() == [list(shown[label]) for label in labels.ravel().tolist()]
    np.testing.assert_array_equal(labels_from_colours(painted, dataset, is_map=True), labels)


@given(data_sets())
def test_every_class_is_shown_in_a_colour_of_its_own(dataset):
    palette = dataset.palette
    assert len(set(palette)) == len(dataset.classes)
    for entry, colour in zip(dataset.classes, palette, strict=True):
        assert colour == entry.colour or (entry.colour is None and colour != dataset.ignored_colour)


@given(data_sets(all_coloured=True), st.data())
def test_a_colour_that_is_not_the_data_sets_is_found_in_an_exact_mask(dataset, data):
    labels = data.draw(labels_of(dataset))
    mask = colours_from_labels(labels, dataset)
    np.testing.assert_array_equal(labels_from_exact_colours(mask, dataset), labels)
    foreign = data.draw(colours)
    assume(
        all(
            apart(foreign, colour) > dataset.tolerance
            for colour in (*dataset.palette, dataset.ignored_colour)
        )
    )
    row, column = (data.draw(st.integers(0, length - 1)) for length in labels.shape)
    mask[row, column] = foreign
    assert labels_from_exact_colours(mask, dataset) is None
    if labels.size < 5 or len({tuple(pixel) for pixel in mask.reshape(-1, 3).tolist()}) == 1:
        return  # a fifth of the mask and more
    with pytest.raises(DataError, match=r"is not a colour of deepglobe_land|class numbers|is grey"):
        labels_from_colours(mask, dataset)


@given(data_sets(all_coloured=True), st.integers(0, 2**32 - 1), st.data())
def test_a_colour_within_the_tolerance_is_never_another_class(dataset, seed, data):
    labels = data.draw(labels_of(dataset))
    exact = colours_from_labels(labels, dataset)
    noise = np.random.default_rng(seed).integers(-dataset.tolerance, dataset.tolerance + 1, exact.shape)
    noisy = np.clip(exact + noise, 0, 255).astype(np.uint8)
    grey = (noisy == noisy[..., :1]).all()
    assume(not grey)
    found = labels_from_colours(noisy, dataset)
    assert ((found == labels) | (found == IGNORE)).all()
    slight = np.clip(exact + noise // 8 * (dataset.tolerance >= 8), 0, 255).astype(np.uint8)
    assume(not (slight == slight[..., :1]).all())
    unsure = (labels_from_colours(slight, dataset) != labels).mean()
    if len(dataset.classes) == 2 and dataset.ignore.colours == ():
        assert unsure == 0


@given(
    st.dictionaries(numbers, st.sampled_from([0, 1, 2, 3, IGNORE]), min_size=1, max_size=8),
    st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32, np.int64]),
    st.data(),
)
def test_numbers_are_looked_up_in_any_type_and_the_first_unknown_one_is_named(table, kind, data):
    limits = np.iinfo(kind)
    known = [number for number in table if limits.min <= number <= limits.max]
    drawn = st.one_of(st.integers(int(limits.min), int(limits.max)), st.sampled_from(known or [0]))
    values = data.draw(arrays(kind, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=drawn))
    nodata = data.draw(arrays(bool, values.shape))
    wrong = [
        value
        for value, gone in zip(values.flat, nodata.flat, strict=True)
        if not gone and int(value) not in table
    ]
    if wrong:
        with pytest.raises(DataError) as caught:
            labels_from_numbers(values, table, "mask.tif", "add {value}", nodata)
        counted = f"{len(wrong)} pixel{'s' if len(wrong) > 1 else ''} of no known number"
        assert str(caught.value) == f"mask.tif: holds {wrong[0]} ({counted}); add {wrong[0]}"
        return
    found = labels_from_numbers(values, table, "mask.tif", "add {value}", nodata)
    expected = [IGNORE if gone else table[int(v)] for v, gone in zip(values.flat, nodata.flat, strict=True)]
    assert found.ravel().tolist() == expected


@given(data_sets(), st.data())
def test_labels_are_counted_and_a_strange_one_is_named(dataset, data):
    labels = data.draw(labels_of(dataset))
    flat = labels.ravel().tolist()
    classes = range(len(dataset.classes))
    expected = [*(flat.count(label) for label in classes), flat.count(IGNORE)]
    assert check_labels(labels, dataset, "m").tolist() == expected
    assert check_labels(labels.astype(np.int64), dataset, "m").tolist() == expected
    labels[0, 0] = strange = data.draw(st.integers(len(dataset.classes), IGNORE - 1))
    with pytest.raises(DataError, match=f"label {strange} is not a class"):
        check_labels(labels, dataset, "m")
