"""Splits of any ids: disjoint, complete, by each id alone; every K-th is the same whatever is left out."""

import hashlib
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from data_prep.scenes import composed
from data_prep.splits import hold_out, make_split, read_split, write_split
from data_prep.subsets import Subset
from inference.scene_files import evenly_spaced
from tests.datasets import LAND

names = st.text("abcXYZ0189_-äéß漢", min_size=1, max_size=6).map(composed)
sets_of_ids = st.sets(names, min_size=2, max_size=25)
seeds = st.integers(0, 2**31 - 1)


@dataclass(frozen=True)
class Named:
    """A scene of which nothing matters but its id."""

    id: str


def ids(scenes) -> list[str]:
    return [scene.id for scene in scenes]


def by_hand(seed: int, ids: set[str]) -> list[str]:
    return sorted(ids, key=lambda id: hashlib.sha256(f"{seed}:{id}".encode()).hexdigest())


@given(sets_of_ids, seeds, st.data())
def test_the_smallest_hashes_train_and_new_scenes_move_no_old_one(everything, seed, data):
    train = data.draw(st.integers(1, len(everything) - 1))
    split = make_split("land", everything, train, seed)
    order = by_hand(seed, everything)
    assert split.train == tuple(sorted(order[:train]))
    assert split.test == tuple(sorted(order[train:]))
    assert split.ids == everything
    new = data.draw(st.sets(names))
    larger = split.extended(new)
    assert larger.ids == everything | new
    assert not set(larger.train) & set(larger.test)
    assert {*split.train} == everything & {*larger.train}
    assert larger.extended([]) == larger
    every = by_hand(seed, everything | new)
    assert {*larger.train} == {*every[: every.index(order[train])]}  # all below the first that tests


@given(sets_of_ids, seeds)
def test_a_split_is_read_as_it_was_written(everything, seed):
    split = make_split("land", everything, 1, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.json"
        write_split(path, split)
        assert read_split(path, "land") == split


def every_kth(ids: set[str], every: int) -> set[str]:
    return {id for place, id in enumerate(sorted(ids), 1) if place % every == 0}


@given(st.sets(names, min_size=1, max_size=25), st.integers(2, 8), st.data())
def test_every_kth_id_tests_and_what_is_not_here_counts_where_it_is_listed(listed, every, data):
    here = data.draw(st.permutations(sorted(listed)))[: data.draw(st.integers(1, len(listed)))]
    scenes = [Named(id) for id in here]
    test = every_kth(listed, every)
    for part, expected in (("test", {*here} & test), ("train", {*here} - test)):
        if expected:
            assert ids(hold_out(scenes, every, part, listed)) == sorted(expected)
        else:
            with pytest.raises(DataError, match=f"leaves no {part} scene of {len(here)}"):
                hold_out(scenes, every, part, listed)


@given(sets_of_ids, st.integers(2, 6), st.sampled_from(["train", "test"]), st.data())
def test_a_part_and_what_it_excludes_are_all_scenes(listed, every, part, data):
    left_out = data.draw(st.sets(st.sampled_from(sorted(listed)), max_size=len(listed) - 1))
    subset = Subset(LAND, part, every)
    subset.__dict__["left_out"] = frozenset(left_out)  # as if a list had been read
    excluded = subset.excluded(listed)
    assert excluded == left_out | {
        id for id in listed if (id in every_kth(listed, every)) != (part == "test")
    }
    if excluded != listed:
        chosen = ids(subset.select([Named(id) for id in listed], listed))
        assert chosen == sorted(listed - excluded)


@given(st.lists(st.integers(), unique=True, max_size=60), st.integers(1, 70))
def test_scenes_to_show_are_in_order_and_as_far_apart_as_each_other(ids, count):
    chosen = list(evenly_spaced(ids, count))
    assert len(chosen) == min(count, len(ids))
    places = [ids.index(id) for id in chosen]
    assert places == sorted(set(places))
    gaps = [after - before for before, after in pairwise(places)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert not places or abs(places[0] - (len(ids) - 1 - places[-1])) <= max(gaps, default=1)
