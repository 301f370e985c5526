"""The command that searches for a better training, on synthetic scenes: halved, stopped and gone on with."""

import csv
import json

import pytest

from tests.conftest import TINY, refused

SEARCH = """
title = "A tiny search"
experiment = "tiny.toml"
set = ["solver.snapshot=2"]
arms = ["baseline", "dfcnet"]
seeds = [1]
rounds = [{ iterations = 2 }, { iterations = 4, best = 1 }]
[scenes.land]
images = ["land"]
hold_out = 4
development = 2
variants = 1
[scenes.road]
images = ["road"]
variants = 1
[records]
margin = 4
[test]
scales = [1.0]
flip = false
resamples = 100
own_statistics = 2
[[trials]]
name = "plain"
[[trials]]
name = "slow"
set = ["solver.base_lr=0.001"]
scenes.land = { rotate = true }
"""


@pytest.fixture
def search(tmp_path, monkeypatch, run_tool):
    """Return a function that carries out a tiny search, of synthetic scenes, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = run_tool("make_scenes.py", "--out", "scenes", "--land", 8, "--road", 4, "--size", 64, "--seed", 1)
    assert done.returncode == 0, done.stderr
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "mine.toml").write_text(SEARCH)
    return lambda: run_tool("search.py", "mine.toml", "--cpu", "--data", "scenes")


@pytest.mark.caffe
def test_the_best_of_each_arm_go_on_and_nothing_is_done_twice(search, tmp_path):
    done = search()
    assert done.returncode == 0, done.stderr
    out = tmp_path / "runs/mine"
    rows = list(csv.DictReader((out / "trials.csv").open()))
    first = {(row["trial"], row["arm"]): float(row["mIoU %"]) for row in rows if row["iterations"] == "2"}
    second = {row["arm"]: row["trial"] for row in rows if row["iterations"] == "4"}
    assert len(first) == 4
    assert len(rows) == 6
    for arm in ("baseline", "dfcnet"):
        assert first[second[arm], arm] == max(first[name, arm] for name in ("plain", "slow"))
    assert {row["settings"] for row in rows if row["trial"] == "slow"} == {
        "land.rotate=True; solver.base_lr=0.001"
    }
    experiment = json.loads((out / "2/slow/runs/dfcnet_1/experiment.json").read_text())
    assert (experiment["solver"]["base_lr"], experiment["solver"]["max_iter"]) == (0.001, 2)
    for row in rows:
        (log,) = out.glob(f"{row['iterations']}/{row['trial']}/log.jsonl")
        steps = [json.loads(line) for line in log.read_text().splitlines()]
        seconds = sum(step["cpu_seconds"] for step in steps if step["what"] == f"train {row['arm']} seed 1")
        assert float(row["CPU minutes"]) == pytest.approx(seconds / 60, abs=0.051)
        assert 0 <= float(row["own statistics %"]) <= 100
    assert not list(out.rglob("data.mdb"))
    assert len(list(out.rglob("weights_land.caffemodel"))) == len(rows)

    # Lines of the log and steps of a trial that are lost, as where a call was killed, are made again alone.
    lines = (out / "trials.csv").read_text().splitlines(keepends=True)
    (out / "trials.csv").write_text("".join(lines[:3]))
    weights = {path: path.stat().st_mtime_ns for path in out.rglob("weights.caffemodel")}
    again = search()
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
    assert "== train" not in again.stdout
    assert (out / "trials.csv").read_text().splitlines() == [line.strip() for line in lines]


@pytest.mark.caffe
def test_a_trial_of_other_settings_under_the_same_name_is_refused(search, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SEARCH.replace(", { iterations = 4, best = 1 }", ""))
    assert search().returncode == 0
    path.write_text(path.read_text().replace("base_lr=0.001", "base_lr=0.002"))
    done = search()
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "base_lr = 0.001, now it is 0.002; give another --out, or remove the folder" in done.stderr


def test_a_wrong_search_is_refused_in_a_line(tmp_path, monkeypatch, run_tool):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "mine.toml").write_text(SEARCH.replace("base_lr=0.001", "base_rl=0.001"))
    options = ("--cpu", "--data", "scenes")
    refused(
        run_tool("search.py", "mine.toml", *options), "tiny.toml with --set", "unknown key solver.base_rl"
    )
    refused(run_tool("search.py", "small", *options), "small.toml", "is a study; name a search")
    refused(run_tool("study.py", "mine.toml", *options), "is a search; name a study")
