"""The command that carries out a study, on synthetic scenes: whole, stopped and gone on with, refused."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, TINY, refused

STUDY = """
title = "A tiny study"
experiment = "tiny.toml"
set = ["solver.max_iter=4", "solver.snapshot=2"]
arms = ["dfcnet", "classmate_shuffled"]
seeds = [1, 2]
[scenes.land]
images = ["land"]
hold_out = 3
variants = 1
[scenes.road]
images = ["road"]
variants = 1
[records]
margin = 4
[test]
scales = [0.5, 1.0]
flip = false
resamples = 100
"""


@pytest.fixture
def study(tmp_path, monkeypatch, run_tool):
    """Return a function that carries out a tiny study, of synthetic scenes, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = run_tool("make_scenes.py", "--out", "scenes", "--land", 6, "--road", 4, "--size", 64, "--seed", 1)
    assert done.returncode == 0, done.stderr
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "mine.toml").write_text(STUDY)

    def run(*more: object):
        return run_tool("study.py", "mine.toml", "--cpu", "--data", "scenes", *more)

    return run


def edit(path, old: str, new: str) -> None:
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.caffe
def test_a_study_tells_all_and_does_nothing_twice(study, tmp_path):
    done = study()
    assert done.returncode == 0, done.stderr
    out = tmp_path / "runs/mine"
    trained = [line for line in done.stdout.splitlines() if line.startswith("== train")]
    assert len(trained) == 2 * 2

    net = (out / "runs/dfcnet_1/train.prototxt").read_text()
    assert "# Emitted by `python tools/study.py mine.toml`;\n# change mine.toml, not this.\n" in net

    scores = json.loads((out / "scores.json").read_text())
    rows = {(row["arm"], row["mode"]): row for row in scores["rows"]}
    assert len(rows) == 2 * 3
    assert {len(row["mious"]) for (_, mode), row in rows.items() if mode != "ensemble"} == {2}
    assert scores["scenes"] == 2
    assert set(scores["crops"].values()) == {2 * 4}
    mean = 100 * sum(rows["dfcnet", "one_scale"]["mious"]) / 2
    assert f"| DFCNet | {mean:.2f} ± " in done.stdout
    page = (out / "report.html").read_text()
    assert all(name in page for name in ("A tiny study", "Table 1", "Figure 3", "Figure 4", f"{mean:.2f} ± "))
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # it needs no other file

    files = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/weights.caffemodel")}
    files |= {path: path.stat().st_mtime_ns for path in out.glob("maps/*/*_mask.png")}
    assert len(files) == 4 + 2 * 10
    again = study()
    assert again.returncode == 0, again.stderr
    assert "==" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in files} == files

    edit(tmp_path / "mine.toml", "seeds = [1, 2]", "seeds = [1, 2, 3]")
    more = study()
    assert [line.split(":")[0] for line in more.stdout.splitlines() if line.startswith("== train")] == [
        f"== train {arm} seed 3" for arm in ("dfcnet", "classmate_shuffled")
    ]
    assert len(json.loads((out / "scores.json").read_text())["rows"][0]["mious"]) == 3

    edit(tmp_path / "mine.toml", "hold_out = 3", "hold_out = 2")
    refused(study(), "runs/mine", "scenes.land.hold_out = 3, now it is 2", "give another --out")
    edit(tmp_path / "mine.toml", "hold_out = 2", "hold_out = 3")
    edit(tmp_path / "mine.toml", "max_iter=4", "max_iter=6")
    refused(study(), "runs/mine", "arms.dfcnet.solver.max_iter = 4, now it is 6")
    edit(tmp_path / "mine.toml", "max_iter=6", "max_iter=4")
    for end in ("sat.jpg", "mask.png"):  # it would move the others between training and test
        (tmp_path / f"scenes/land/0_{end}").write_bytes(
            next((tmp_path / "scenes/land").glob(f"*{end}")).read_bytes()
        )
    refused(study(), "runs/mine", "was started with no files.land.0")


@pytest.mark.caffe
def test_a_stopped_study_goes_on(study, tmp_path):
    edit(tmp_path / "mine.toml", "max_iter=4", "max_iter=400")
    command = [sys.executable, ROOT / "tools/study.py", "mine.toml", "--cpu", "--data", "scenes"]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as process:
        log = tmp_path / "runs/mine/runs/dfcnet_1/log.jsonl"
        end = time.monotonic() + 120
        while not (log.exists() and "iteration" in log.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output = process.communicate()[0]
    assert process.returncode == 128 + signal.SIGTERM
    assert output.endswith("== train dfcnet seed 1: stopped; the same command continues\n")
    assert not (tmp_path / "runs/mine/scores.json").exists()
    edit(tmp_path / "mine.toml", "seeds = [1, 2]", "seeds = [1]")
    edit(tmp_path / "mine.toml", '["dfcnet", "classmate_shuffled"]', '["dfcnet"]')
    done = study()
    assert done.returncode == 0, done.stderr
    starts = [json.loads(line).get("start") for line in log.read_text().splitlines()]
    assert max(start or 0 for start in starts) > 0


@pytest.mark.caffe
def test_missing_scenes_and_gpus_are_refused_before_anything_is_written(study, tmp_path, run_tool):
    edit(tmp_path / "mine.toml", 'images = ["road"]', 'images = ["roads"]')
    refused(study(), "scenes/roads", "is not a folder", "--data")
    edit(tmp_path / "mine.toml", 'images = ["roads"]', 'images = ["road"]')
    edit(tmp_path / "mine.toml", "seeds = [1, 2]", "seeds = [1, 1]")
    refused(study(), "mine.toml", "seeds [1, 1] names one twice")
    refused(run_tool("study.py", "other.toml", "--cpu", "--data", "scenes"), "other.toml", "cannot be read")
    refused(run_tool("study.py", "small", "--cpu", "--data", "scenes"), "land_256/train", "is not a folder")
    refused(
        run_tool("study.py", "smal", "--cpu", "--data", "scenes"),
        "studies/smal.toml",
        "gpu, medium, paper, small",
    )
    edit(tmp_path / "mine.toml", "seeds = [1, 1]", "seeds = [1]")
    refused(run_tool("study.py", "mine.toml", "--gpus", "99", "--data", "scenes"), "--gpus", "use --cpu")
    assert not (tmp_path / "runs").exists()
