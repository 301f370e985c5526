"""Splits: no scene in two parts, the parts follow from the id and the seed alone, the paper's numbers."""

import hashlib
import json
import unicodedata
from pathlib import Path

import pytest

from common.errors import DataError
from data_prep.scenes import Scene
from data_prep.splits import NAMED, Split, hash_id, hold_out, make_split, named_split, read_split, write_split


def scenes_of(ids: list[str]) -> list[Scene]:
    return [Scene(id, Path(id), Path(id)) for id in ids]


def test_every_third_id_as_text_is_held_out():
    scenes = scenes_of(["1", "2", "3", "10", "20", "30", "4"])  # as text: 1 10 2 20 3 30 4
    assert [s.id for s in hold_out(scenes, 3, "test")] == ["2", "30"]
    assert [s.id for s in hold_out(scenes, 3, "train")] == ["1", "10", "20", "3", "4"]


def test_ids_that_are_not_here_count_where_they_are_listed():
    listed = ["1", "2", "3", "10", "20", "30", "4"]  # as text: 1 10 2 20 3 30 4
    scenes = scenes_of([id for id in listed if id not in ("10", "30")])
    assert [s.id for s in hold_out(scenes, 3, "test", listed)] == ["2"]
    assert [s.id for s in hold_out(scenes, 3, "train", listed)] == ["1", "20", "3", "4"]


def test_parts_do_not_depend_on_the_order_and_share_no_id():
    ids = [str(n) for n in range(50)]
    train, test = (hold_out(scenes_of(ids), 5, part) for part in ("train", "test"))
    assert hold_out(scenes_of(ids[::-1]), 5, "test") == test
    assert {s.id for s in train}.isdisjoint(s.id for s in test)
    assert len(train) + len(test) == 50


@pytest.mark.parametrize(("every", "part"), [(1, "train"), (0, "test"), (9, "test")])
def test_a_part_without_scenes_is_an_error(every, part):
    with pytest.raises(DataError, match="--hold-out"):
        hold_out(scenes_of(["1", "2", "3"]), every, part)


IDS = [str(n) for n in range(803)]


def by_hand(seed: int, ids: list[str]) -> list[str]:
    """Order ids by SHA-256 of seed and id, as text of hexadecimal digits."""
    return sorted(ids, key=lambda id: hashlib.sha256(f"{seed}:{id}".encode()).hexdigest())


def test_the_papers_land_split_has_600_and_203_scenes_and_no_id_twice():
    split = make_split("land", IDS, 600, 7)
    assert (len(split.train), len(split.test)) == (600, 203)
    assert {*split.train}.isdisjoint(split.test)
    assert {*split.train, *split.test} == {*IDS}
    assert {*split.train} == {*by_hand(7, IDS)[:600]}


def test_the_hash_is_the_same_on_every_machine():
    assert hash_id(0, "119") == int(hashlib.sha256(b"0:119").hexdigest()[:16], 16)


def test_another_seed_gives_another_split():
    assert make_split("land", IDS, 600, 1).train != make_split("land", IDS, 600, 2).train


def test_the_order_of_the_ids_does_not_matter():
    assert make_split("land", IDS[::-1], 600, 1) == make_split("land", IDS, 600, 1)


def test_added_scenes_move_no_old_one(tmp_path):
    old = make_split("land", IDS[:500], 375, 3)
    write_split(tmp_path / "split.json", old)
    new = read_split(tmp_path / "split.json", "land").extended(IDS)
    assert {*old.train} <= {*new.train}
    assert {*old.test} <= {*new.test}
    assert len(new.train) + len(new.test) == 803
    assert 0.70 < (len(new.train) - 375) / 303 < 0.80  # the new ones fall by the same share


@pytest.mark.parametrize("train", [0, 5, 6, -1])
def test_a_split_that_leaves_a_part_empty_is_refused(train):
    with pytest.raises(DataError, match=f"--train: {train} of 5 scenes"):
        make_split("land", IDS[:5], train, 0)


def test_scenes_are_picked_by_id_and_strangers_named():
    split = make_split("road", IDS[:10], 6, 0)
    scenes = scenes_of(IDS[:10])
    assert [scene.id for scene in split.select(scenes, "test", "s.json")] == [*split.test]
    with pytest.raises(DataError, match=r"s\.json: lacks scene 99; add it"):
        split.select([*scenes, *scenes_of(["99"])], "train", "s.json")
    with pytest.raises(DataError, match="has no test scene among the 6 given"):
        split.select(scenes_of([*split.train]), "test", "s.json")


def harmed(table: dict, **changes) -> str:
    return json.dumps(table | changes)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (lambda table: "{", "is not a split file"),
        (lambda table: "[]", "is not a split file"),
        (lambda table: "[" * 100000, "is not a split file"),
        (lambda table: harmed(table, dataset="road"), "splits scenes of road"),
        (lambda table: harmed(table, task="land"), "is a split file of version 1.0"),
        (lambda table: harmed(table, test=table["test"] + table["train"][:1]), "twice"),
        (lambda table: harmed(table, validation=["new"]), "its hash does not put it"),
        (lambda table: harmed(table, seed=None), "is not a split file"),
        (lambda table: harmed(table, format=3), "is a split file of format 3, not 2"),
        (lambda table: harmed(table, format="2"), "is a split file of format '2', not 2"),
        (lambda table: json.dumps({k: v for k, v in table.items() if k != "format"}), "is not a split file"),
        (lambda table: harmed(table, train=table["test"], test=table["train"]), "its hash does not put it"),
    ],
)
def test_broken_split_files_are_named(tmp_path, text, fact):
    path = tmp_path / "split.json"
    write_split(path, make_split("land", IDS[:9], 6, 0))
    path.write_text(text(json.loads(path.read_text())))
    with pytest.raises(DataError, match=r"split\.json: ") as caught:
        read_split(path, "land")
    assert fact in caught.value.fact


def test_ids_with_accents_apart_are_refused(tmp_path):
    ids = [unicodedata.normalize("NFD", "café"), "b", "c"]
    write_split(tmp_path / "split.json", make_split("deepglobe_land", ids, 1, 0))
    with pytest.raises(DataError, match="with accents apart from their letters"):
        read_split(tmp_path / "split.json", "deepglobe_land")


def test_a_byte_order_mark_is_passed_over(tmp_path):
    split = make_split("deepglobe_land", "abc", 1, 0)
    write_split(tmp_path / "split.json", split)
    text = (tmp_path / "split.json").read_text()
    (tmp_path / "split.json").write_text(text, encoding="utf-8-sig")
    assert read_split(tmp_path / "split.json", "deepglobe_land") == split


def test_glnets_split_has_all_803_scenes_in_its_three_parts():
    """As Chen et al. (2019) give them; two scenes of each list are looked up."""
    split = named_split("glnet", "deepglobe_land")
    assert (len(split.train), len(split.validation), len(split.test)) == (454, 207, 142)
    assert len(split.ids) == 803
    assert {"621206", "204494"} < {*split.train}
    assert {"455374", "233615"} < {*split.validation}
    assert {"857201", "321711"} < {*split.test}


def test_a_split_by_lists_is_written_and_read_as_it_is(tmp_path):
    split = Split("d", None, None, ("a", "b"), ("c",), ("e",), "the lists of a paper")
    write_split(tmp_path / "s.json", split)
    assert read_split(tmp_path / "s.json", "d") == split
    assert json.loads((tmp_path / "s.json").read_text()) == {
        "format": 2,
        "dataset": "d",
        "source": "the lists of a paper",
        "train": ["a", "b"],
        "test": ["c"],
        "validation": ["e"],
    }
    scenes = scenes_of(["a", "c", "e"])
    assert [scene.id for scene in split.select(scenes, "validation", "s.json")] == ["e"]
    with pytest.raises(DataError, match=r"s\.json: lacks scene f; leave it out by --leave-out"):
        split.select(scenes_of(["f"]), "train", "s.json")
    with pytest.raises(DataError, match="lists, which say nothing of other scenes"):
        split.extended(["f"])


def test_only_published_splits_have_a_name():
    assert [path.name for path in NAMED.iterdir()] == ["glnet.json"]
    for name in ("magnet", "../deepglobe_land", "*"):
        with pytest.raises(DataError, match="is not a published split; give one of glnet"):
            named_split(name, "deepglobe_land")
    with pytest.raises(DataError, match="splits scenes of deepglobe_land"):
        named_split("glnet", "deepglobe_road")
