"""Options that take numbers refuse what makes no sense, in a line, before anything is done."""

import math

import pytest

from common.errors import DataError
from data_prep.read_options import ReadOptions
from tests.conftest import refused

DEPLOY = ("--deploy", "d.prototxt", "--weights", "w.caffemodel")
MAPS = ("--truth", "t", "--pred", "p")
BUILD = ("build_lmdb.py", "dfcnet_demo", "land", "--images", ".", "--out", "db")
FEATURES = ("figure.py", "features", *DEPLOY, "--images", ".", "--out", "f.png")
SENSELESS = [
    ((*BUILD, "--margin", 10**9), "--margin: is 1000000000; give 0 to 8,192"),
    ((*BUILD, "--variants", 10**12), "--variants: is 1000000000000"),
    ((*BUILD, "--seed", -1), "--seed: is -1; give 0 or more"),
    (("evaluate.py", *MAPS, "--at-least", "nan"), "--at-least: is nan; give a finite number"),
    (("evaluate.py", *MAPS, "--at-least", "inf"), "--at-least: is inf"),
    (("evaluate.py", *MAPS, "--at-least", -1), "--at-least: is -1; give 0 or more"),
    (("evaluate.py", *MAPS, "--resamples", 10**12), "--resamples: is 1000000000000"),
    (("evaluate.py", *MAPS, "--seed", -1), "--seed: is -1"),
    (("verify_data.py", "deepglobe_land", ".", "--bands", 1, 1, 2), "--bands: is 1 1 2; give each"),
    (("verify_data.py", "deepglobe_land", ".", "--workers", 10**6), "--workers: is 1000000; give 1 to 512"),
    (("predict.py", *DEPLOY, "--out", "maps", ".", "--threads", 10**9), "--threads: is 1000000000"),
    (("predict.py", *DEPLOY, "--out", "maps", ".", "--threads", 0), "--threads: is 0; give 1 or more"),
    (("make_scenes.py", "--out", "s", "--land", 10**7), "--land: is 10000000; give 0 to 999,999"),
    (("make_scenes.py", "--out", "s", "--land", 1, "--size", 10**6), "--size: is 1000000; give 64 to 8,192"),
    (("gpu_check.py", "--budget", "nan"), "--budget: is nan"),
    (("gpu_check.py", "--train-seconds", "inf"), "--train-seconds: is inf"),
]


@pytest.mark.parametrize(("command", "words"), SENSELESS, ids=lambda value: str(value)[-44:])
def test_an_option_refuses_what_makes_no_sense(tmp_path, run_tool, command, words):
    refused(run_tool(*command, cwd=tmp_path), words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "1e3", "999999999"])
def test_a_variable_of_threads_must_be_a_number_of_threads(monkeypatch, name, value):
    from common.errors import DFCNetError
    from training.communicators import threads_wanted

    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(DFCNetError, match=f"{name}: is '{value}'; set it to 1 to 1024, or unset it"):
        threads_wanted()
    monkeypatch.setenv(name, "3,2")  # OpenMP's list by level
    assert threads_wanted() == 3


@pytest.mark.parametrize("stretch", [(0, math.inf), (-math.inf, 1), (math.nan, 1), (0, math.nan)])
def test_a_stretch_is_of_finite_values(stretch):
    with pytest.raises(DataError, match=r"--stretch: is .*; give finite values"):
        ReadOptions(stretch=stretch)
