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
