"""Counts are said in words that fit them."""

import pytest

from common.numbers import plural


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 test scenes"), (1, "1 test scene"), (2, "2 test scenes"), (1234567, "1,234,567 test scenes")],
)
def test_a_noun_is_in_the_plural_unless_there_is_one(count, words):
    assert plural(count, "test scene") == words
