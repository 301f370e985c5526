"""A study's folder keeps to the study that it was started with."""

import json

import pytest

from common.errors import ExperimentError
from studies.provenance import BEGUN, remember

SETTINGS = {
    "data": {"hold_out": 5},
    "scenes": {"test": {"7": "ab", "9": "cd"}},
    "arms": {"dfcnet": {"crop": 33}, "baseline": {"crop": 33}},
}


def changed(**tables) -> dict:
    return {**SETTINGS, **tables}


def test_the_same_study_and_further_arms_are_welcome(tmp_path):
    remember(tmp_path, SETTINGS)
    remember(tmp_path, SETTINGS)
    remember(tmp_path, changed(arms={"classmate": {"crop": 33}}))
    assert list(json.loads((tmp_path / BEGUN).read_text())["arms"]) == ["dfcnet", "baseline", "classmate"]
    remember(tmp_path, changed(arms={"baseline": {"crop": 33}}))
    assert len(json.loads((tmp_path / BEGUN).read_text())["arms"]) == 3


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"data": {"hold_out": 4}}, "data.hold_out = 5, now it is 4"),
        ({"data": {"hold_out": 5, "seed": 1}}, "no data.seed, now it is 1"),
        ({"arms": {"dfcnet": {"crop": 65}}}, "arms.dfcnet.crop = 33, now it is 65"),
        ({"scenes": {"test": {"7": "ab", "9": "xx"}}}, "scenes.test.9 = cd, now it is xx"),
        ({"scenes": {"test": {"7": "ab"}}}, "scenes.test.9 = cd, now it has none"),
        ({"scenes": {"test": {"7": "ab", "8": "ef", "9": "cd"}}}, "no scenes.test.8, now it is ef"),
    ],
)
def test_another_study_is_refused_by_its_first_difference(tmp_path, other, words):
    remember(tmp_path, SETTINGS)
    before = (tmp_path / BEGUN).read_text()
    with pytest.raises(ExperimentError) as caught:
        remember(tmp_path, changed(**other))
    assert words in str(caught.value)
    assert "give another --out" in str(caught.value)
    assert (tmp_path / BEGUN).read_text() == before


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"arms": 3}'])
def test_a_torn_note_is_told(tmp_path, text):
    (tmp_path / BEGUN).write_text(text)
    with pytest.raises(ExperimentError, match=r"study\.json: cannot be read"):
        remember(tmp_path, SETTINGS)
