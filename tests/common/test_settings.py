"""The first setting that differs is named, with both values as a file writes them."""

import pytest

from common.settings import difference_text, first_difference

URBAN, WATER = {"name": "urban", "values": [1]}, {"name": "water", "values": [2]}


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ([URBAN, WATER], [WATER, URBAN], "classes.order = [urban, water], now it is [water, urban]"),
        ([URBAN, WATER], [URBAN], "classes.water = {'name': 'water', 'values': [2]}, now it has none"),
        (
            [URBAN, WATER],
            [{"name": "water", "values": [3]}, URBAN],
            "classes.water.values = [2], now it is [3]",
        ),
    ],
)
def test_named_tables_differ_by_their_names_and_by_their_order(before, now, words):
    assert difference_text(first_difference({"classes": before}, {"classes": now})) == words
    assert first_difference({"classes": before}, {"classes": [dict(entry) for entry in before]}) is None


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ("v1.0", "v2.0", "tag = v1.0, now it is v2.0"),
        (1.0, 0.25, "tag = 1, now it is 0.25"),
        ([0.5, 2.0], [0.5, 1e-5], "tag = [0.5, 2], now it is [0.5, 1e-05]"),
        (1.00000001, 1.00000002, "tag = 1.00000001, now it is 1.00000002"),
        (None, "3.0", "no tag, now it is 3.0"),
    ],
)
def test_numbers_are_short_and_texts_as_they_are(before, now, words):
    assert difference_text(first_difference({"tag": before}, {"tag": now})) == words
