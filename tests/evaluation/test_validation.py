"""Validation while training scores the weights as they are, and leaves them alone."""

import json

import cv2
import numpy as np
import pytest

from data_prep.masks import colours_from_labels
from evaluation.validation import Validation
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.experiment import read_experiment
from tests.conftest import write_lmdb
from tests.datasets import LAND
from training.curves import read_log

pytestmark = pytest.mark.caffe


def test_scores_in_the_log_are_those_of_predicting_the_records(tiny, tmp_path, run_tool):
    """Against the prediction tools: each record's middle as an image, its map scored as a folder."""
    import lmdb

    text = tiny.read_text().replace('source = "land_lmdb"', 'source = "land_lmdb"\nvalidation = "land_lmdb"')
    tiny.write_text(text.replace("snapshot = 4", "snapshot = 4\nvalidate_every = 2"))
    assert run_tool("train.py", tiny, "--cpu", cwd=tmp_path).returncode == 0
    lines = map(json.loads, (tmp_path / "runs" / "tiny" / "log.jsonl").read_text().splitlines())
    logged = {line["iteration"]: line["validation"] for line in lines if "validation" in line}
    assert set(logged) == {2, 4, 6}
    for iteration in (4, 6):
        snapshot = tmp_path / "runs" / "tiny" / "snapshots" / f"iter_{iteration:08d}"
        assert json.loads((snapshot / "manifest.json").read_text())["score"] == logged[iteration]["miou"]

    with lmdb.open(str(tmp_path / "land_lmdb"), readonly=True, lock=False) as env, env.begin() as reading:
        for number, (_, value) in enumerate(reading.cursor()):
            datum = caffe_pb2().Datum.FromString(value)
            record = np.frombuffer(datum.data, np.uint8).reshape(4, 37, 37)[:, 2:35, 2:35]
            colours = colours_from_labels(record[3], LAND)
            (tmp_path / "scenes").mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / "scenes" / f"{number}_sat.png"), record[:3].transpose(1, 2, 0))
            cv2.imwrite(str(tmp_path / "scenes" / f"{number}_mask.png"), colours[..., ::-1])
    run = tmp_path / "runs" / "tiny"
    done = run_tool("predict.py", "--run", run, "--out", tmp_path / "maps", tmp_path / "scenes")
    assert done.returncode == 0, done.stderr
    score = tmp_path / "score.json"
    done = run_tool(
        "evaluate.py", "--truth", tmp_path / "scenes", "--pred", tmp_path / "maps", "--json", score
    )
    assert done.returncode == 0, done.stderr
    assert logged[6]["miou"] == pytest.approx(json.loads(score.read_text())["miou"], abs=1e-6)


def test_an_experiment_that_asks_for_none_gets_none(tiny):
    assert Validation.of(read_experiment(tiny)) is None


def validated(tiny, run_tool, land: str, first: str) -> tuple[dict, str]:
    """Train with validation of both tasks, `first` first in the file; return scores and what was said."""
    head, tasks = tiny.read_text().split("[tasks.land]")
    land_task, rest = tasks.split("[tasks.road]")
    road_task, solver = rest.split("[solver]")
    solver = solver.replace("max_iter = 6", "max_iter = 4\nvalidate_every = 4")
    tables = {
        "land": f'[tasks.land]{land_task}validation = "{land}"\n',
        "road": f'[tasks.road]{road_task}validation = "road_lmdb"\n',
    }
    tables = sorted(tables.items(), key=lambda table: table[0] != first)
    tiny.write_text(f"{head}{''.join(text for _, text in tables)}[solver]{solver}")
    done = run_tool("train.py", tiny, "--cpu", cwd=tiny.parent)
    assert done.returncode == 0, done.stderr
    lines = (tiny.parent / "runs" / "tiny" / "log.jsonl").read_text().splitlines()
    entries = [json.loads(line, parse_constant=pytest.fail) for line in lines]  # NaN is not JSON
    return [entry["validation"] for entry in entries if "validation" in entry][-1], done.stdout


@pytest.mark.parametrize("first", ["land", "road"])
def test_the_best_is_by_the_task_that_comes_first_in_the_file(tiny, run_tool, first):
    scores, _ = validated(tiny, run_tool, "land_lmdb", first)
    assert scores["tasks"]["land"]["miou"] != scores["tasks"]["road"]["miou"]
    assert scores["miou"] == scores["tasks"][first]["miou"]


def test_where_no_pixel_is_labelled_the_score_is_null(tiny, tmp_path, run_tool):
    write_lmdb(tmp_path / "blank_lmdb", "land", 6, labelled=False)
    scores, said = validated(tiny, run_tool, "blank_lmdb", "land")
    assert scores["miou"] is scores["tasks"]["land"]["miou"] is None
    assert "validation mIoU: land undefined (no labelled pixel)  road " in said
    snapshot = tmp_path / "runs" / "tiny" / "snapshots" / "iter_00000004" / "manifest.json"
    assert json.loads(snapshot.read_text(), parse_constant=pytest.fail)["score"] is None
    assert "land mIoU" not in (curves := read_log(tmp_path / "runs" / "tiny"))
    assert set(curves["road mIoU"]) == {4}
