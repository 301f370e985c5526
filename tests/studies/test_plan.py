"""Study files: the committed ones are fair, a wrong one is refused in one line."""

from pathlib import Path

import pytest

from common.errors import ExperimentError
from studies.arms import ARMS
from studies.plan import crops_seen, experiment_of, read_study

STUDIES = Path(__file__).parents[2] / "studies"
LARGE = "classmate_large"
VALID = """
title = "T"
experiment = "dfcnet_demo"
seeds = [1, 2]
[scenes.land]
images = ["land"]
hold_out = 5
variants = 2
[scenes.road]
images = ["road"]
variants = 3
[test]
scales = [0.5, 1.0]
flip = true
"""


def read(folder: Path, text: str):
    path = folder / "mine.toml"
    path.write_text(text)
    return read_study(path)


@pytest.mark.parametrize(
    ("name", "lacks"), [("small", {LARGE}), ("gpu", {LARGE}), ("paper", {LARGE}), ("medium", set())]
)
def test_the_committed_studies_can_be_read_and_have_their_arms(name, lacks):
    study, base = read_study(STUDIES / f"{name}.toml")
    assert set(study.arms) == set(ARMS) - lacks
    for arm in study.arms:
        experiment_of(study, base, arm, 1, Path("data"))


def test_the_papers_study_has_the_papers_numbers():
    study, base = read_study(STUDIES / "paper.toml")
    arms = {arm: experiment_of(study, base, arm, 1, Path("data")) for arm in study.arms}
    assert {arm: exp.solver.batch_size for arm, exp in arms.items() if "_" not in arm} == {
        "baseline": 32,
        "classmate": 16,
        "dfcnet": 16,
    }
    for exp in arms.values():
        assert (exp.input.crop, exp.solver.max_iter, exp.solver.base_lr) == (1025, 80_000, 0.001)
    seen = crops_seen(study, base)
    assert seen["baseline"] == 32 * 80_000
    assert seen["classmate"] == 8 * 80_000
    assert seen["dfcnet"] == seen["dfcnet_no_road"] == 40 * 80_000  # the baseline's too
    assert (study.scenes["land"].train, study.scenes["road"].train) == (600, 5000)


def test_an_experiment_can_stand_beside_the_study(tmp_path):
    (tmp_path / "own.toml").write_text((STUDIES.parent / "solvers/dfcnet_demo/experiment.toml").read_text())
    _, base = read(tmp_path, VALID.replace('"dfcnet_demo"', '"own.toml"'))
    assert base.name == "own"


def test_settings_replace_those_of_the_experiment(tmp_path):
    _, base = read(tmp_path, VALID.replace("seeds", 'set = ["solver.max_iter=12"]\nseeds'))
    assert base.solver.max_iter == 12


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = [1, 2]", "seeds = [1, 1]", ("seeds [1, 1] names one twice",)),
        ("seeds = [1, 2]", "seeds = []", ("seeds has 0 entries; give 1 or more",)),
        ("seeds = [1, 2]", "seeds = [1]\narms = ['dfcnet', 'resnet']", ("arms", "resnet")),
        ("[test]", "[batch_size]\nbaseline = 32\n[test]", ("different numbers of land crops", "baseline")),
        ("[test]", "[start_from]\ndfcnet = 'baseline'\n[test]", ("different numbers of land crops",)),
        ("[test]", "[start_from]\nbaseline = 'dfcnet'\n[test]", ("name dfcnet before baseline in arms",)),
        ("seeds = [1, 2]", "seeds = [1]\narms = ['dfcnet']\nbatch_size = {baseline = 4}", ("batch_size",)),
        ("hold_out = 5", "hold_out = 1", ("scenes.land.hold_out",)),
        ("hold_out = 5", "", ("scenes.land: land is tested; give one of hold_out and train",)),
        ("hold_out = 5", "hold_out = 5\ntrain = 3", ("give one of hold_out and train",)),
        ("flip = true", "flip = true\ntile = 64", ("test: tile 64 is not 32k+1",)),
        ("[0.5, 1.0]", "[1.0, 1.0]", ("test: scales are 1 1; give each scale once",)),
        ("[0.5, 1.0]", "[50.0]", ("test: scales 50 is out of range",)),
        ("[0.5, 1.0]", "[]", ("test: scales are empty",)),
        ("flip = true", "flip = true\nscale = 2", ("unknown key test.scale",)),
        ("variants = 2\n", "", ("scenes.land.variants is missing", "studies/small.toml")),
        ("variants = 3", "variants = 3\nhold_out = 2", ("scenes.road.hold_out: road is not tested",)),
        ("variants = 3", "variants = 3\ndevelopment = 2", ("scenes.road.development: road is not tested",)),
        ("[scenes.road]", "[scenes.sea]", ("write a table [scenes.TASK] for each of land, road",)),
        ("[scenes.road]", "[data]", ("data is not to be given", "write [scenes.TASK] for each task")),
        ('title = "T"\n', "", ("title is missing",)),
        ('"dfcnet_demo"', '"dfcnet_dmo"', ("dfcnet_dmo/experiment.toml", "cannot be read")),
        (
            '"dfcnet_demo"',
            '"baseline"',
            ("baseline/experiment.toml", "is FC-DenseNet on land", "the arms derive"),
        ),
    ],
)
def test_a_wrong_study_is_refused_with_its_key(tmp_path, old, new, words):
    assert VALID.count(old) == 1
    with pytest.raises(ExperimentError) as caught:
        read(tmp_path, VALID.replace(old, new))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_unequal_land_crops_must_be_said(tmp_path):
    text = VALID.replace("[test]", "[batch_size]\nbaseline = 16\n[test]")
    with pytest.raises(ExperimentError, match="equal_samples = false"):
        read(tmp_path, text)
    study, _ = read(tmp_path, text.replace("seeds", "equal_samples = false\nseeds"))
    assert study.batch_size == {"baseline": 16}
