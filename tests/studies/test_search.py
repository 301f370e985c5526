"""Search files: which trials take part, and a wrong file refused in one line."""

from pathlib import Path

import pytest

from common.errors import DataError, ExperimentError
from studies.plan import base_experiment
from studies.search import read_search, read_trials

STUDIES = Path(__file__).parents[2] / "studies"
VALID = """
title = "T"
experiment = "dfcnet_demo"
set = ["solver.base_lr=0.1"]
arms = ["baseline", "dfcnet"]
seeds = [1]
rounds = [{ iterations = 10 }, { iterations = 20, best = 1 }]
[scenes.land]
images = ["land"]
hold_out = 5
development = 2
variants = 2
[scenes.road]
images = ["road"]
variants = 3
[test]
scales = [1.0]
flip = false
[[trials]]
name = "plain"
[[trials]]
name = "other"
set = ["solver.base_lr=0.2", "tasks.land.resize=[0.5, 2.0]"]
scenes.land = { variants = 7, class_aware = true }
"""


def read(folder: Path, text: str):
    path = folder / "mine.toml"
    path.write_text(text)
    return read_search(path)


def test_the_committed_search_can_be_read_and_leaves_the_studys_test_scenes_alone():
    search = read_search(STUDIES / "search.toml")
    assert search.scenes["land"].hold_out == 5  # as in small.toml
    assert search.scenes["land"].development == 40
    for trial in search.trials:
        assert not {"hold_out", "development", "images"} & trial.scenes.get("land", {}).keys()


def test_a_trial_is_the_searchs_study_but_for_what_it_changes(tmp_path):
    search = read(tmp_path, VALID)
    plain, other = (search.study(trial, 20, ["dfcnet"]) for trial in search.trials)
    assert (plain.arms, other.arms) == (("dfcnet",), ("dfcnet",))
    land = other.scenes["land"]
    assert (land.variants, land.class_aware, land.development) == (7, True, 2)
    assert (plain.scenes["land"].variants, plain.scenes["land"].class_aware) == (2, False)
    assert plain.scenes["road"] == other.scenes["road"]
    before, after = (base_experiment(study, tmp_path / "mine.toml") for study in (plain, other))
    assert (before.solver.base_lr, after.solver.base_lr) == (0.1, 0.2)
    assert before.solver.max_iter == after.solver.max_iter == 20
    assert before.tasks["land"].dataset.resize == (0.8, 1.25)
    assert after.tasks["land"].dataset.resize == (0.5, 2.0)
    assert after.tasks["road"] == before.tasks["road"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "other"', 'name = "plain"', "trials names plain twice"),
        ('name = "other"', 'name = "../x"', "give a text of the form"),
        ("iterations = 20", "iterations = 10", "rounds do not become longer"),
        ("best = 1", "best = 2", "rounds take [2] of 2 trials; give fewer to each"),
        (", best = 1", "", "give best to the others alone"),
        ("{ iterations = 10 }", "{ iterations = 10, best = 2 }", "all trials take part in the first"),
        ("variants = 7", "variants = 0", "trial other of mine: scenes.land.variants = 0; give 1 or more"),
        ("scenes.land =", "scenes.sea =", "trial other of mine: "),
        ("variants = 7", "variant = 7", "trial other of mine: unknown key scenes.land.variant"),
        ("base_lr=0.2", "base_rl=0.2", "unknown key solver.base_rl"),
        ("[0.5, 2.0]", "[2.0, 0.5]", "[2.0, 0.5] is not a range; give the smaller factor first"),
    ],
)
def test_a_wrong_search_is_refused_with_its_key(tmp_path, old, new, words):
    assert VALID.count(old) == 1
    with pytest.raises(ExperimentError) as caught:
        read(tmp_path, VALID.replace(old, new))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "iterations,trial\n1,x\n"])
def test_another_table_is_not_taken_for_the_log_of_a_search(tmp_path, text):
    path = tmp_path / "trials.csv"
    assert read_trials(path) == []
    path.write_text(text)
    with pytest.raises(DataError, match="is not the log of a search; remove it"):
        read_trials(path)
