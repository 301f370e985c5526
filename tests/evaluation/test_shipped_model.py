"""The nets of models/ are what their READMEs say, and a run becomes such a folder or is refused in a line."""

import json
import os
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from common.errors import DataError, DFCNetError, OutputError, WeightsError
from evaluation.page.run_facts import read_run
from evaluation.shipped_model import read_about, ship_model
from prototxt_gen.caffemodel import write_caffemodel
from prototxt_gen.model_card import ModelCard, read_card, write_card
from prototxt_gen.models import TRAIN, build
from tests.conftest import refused
from tests.datasets import DATASETS, LAND, read_map, read_truth
from tests.evaluation.page.finished_run import make_finished_run
from training.run import MODELS

SHIPPED = sorted(path.parent.name for path in MODELS.glob("*/README.md"))
ABOUT = """
title = "A net"
summary = "Small."
metres = 2.5
data = ["three scenes"]
scored_on = "3 scenes"
limits = ["everything"]
[licence]
key = "other"
name = "research"
terms = "Not for sale."
"""


@pytest.fixture
def run(tmp_path):
    """A run whose training has ended, with scores of three scenes, and beside it a description."""
    run = make_finished_run(tmp_path)
    shapes = build(read_run(run.folder).experiment, TRAIN).parameter_shapes()
    weights = {name: [np.zeros(shape, np.float32) for shape in blobs] for name, blobs in shapes.items()}
    write_caffemodel(run.folder / "weights.caffemodel", "tiny", weights, overwrite=True)
    card = {"experiment": "tiny", "model": "DFCNet", "iteration": 6, "crop": 65, "tasks": DATASETS}
    write_card(run.folder / "weights.caffemodel", ModelCard(mean=(1.0, 2.0, 3.0), scale=0.5, **card))
    (run.folder / "deploy.prototxt").write_text(
        "# Deploy net.\n# Emitted by `python tools/train.py /home/me/tiny.toml`;\n"
        "# change /home/me/tiny.toml, not this.\n\nname: 'tiny'\n"
    )
    (tmp_path / "about.toml").write_text(ABOUT)
    return run


def ship(run, scores: Path | None = None, overwrite: bool = False) -> Path:
    folder = run.folder.parent
    out = folder / "models" / "tiny"
    ship_model(run.folder, scores or run.scores, folder / "about.toml", out, overwrite)
    return out


def test_a_run_becomes_a_folder_with_all_that_predicting_needs(run):
    out = ship(run)
    names = {"deploy.prototxt", "weights.caffemodel", "weights.json", "about.toml", "README.md"}
    assert {path.name for path in out.iterdir()} == names
    for name in ("weights.caffemodel", "weights.json"):
        assert (out / name).read_bytes() == (run.folder / name).read_bytes()
    assert (out / "deploy.prototxt").read_text() == "# Deploy net.\n\nname: 'tiny'\n"
    with pytest.raises(OutputError, match="--overwrite"):
        ship(run)
    assert ship(run, overwrite=True) == out


def test_the_readme_has_the_head_that_hugging_face_reads_scores_and_limits(run):
    head, text = (ship(run) / "README.md").read_text().removeprefix("---\n").split("---\n", 1)
    score = json.loads(run.scores.read_text())["miou"]
    assert 'license: other\nlicense_name: "research"\n' in head
    assert f"- {{type: miou, name: mIoU, value: {100 * score:.2f}}}\n" in head
    assert f"| mIoU | {100 * score:.2f} |" in text
    assert "## What it must not be used for\n\n- everything\n" in text
    assert "dfcnet predict --model tiny " in text
    assert not re.search(r"\n\n\n|\{\{|\}\}", text)


def test_scores_of_scenes_that_trained_it_or_of_other_classes_are_refused(run):
    for change, words in (
        ({"trained": ["2"]}, "scores 2, which has trained"),
        ({"dataset": "x"}, "scores of x"),
    ):
        other = run.scores.with_name("other.json")
        other.write_text(json.dumps(json.loads(run.scores.read_text()) | change))
        with pytest.raises(DataError, match=words):
            ship(run, scores=other)
    assert not (run.folder.parent / "models").exists()


def test_a_training_that_has_not_ended_or_a_description_without_limits_is_refused(run):
    about = run.folder.parent / "about.toml"
    about.write_text(ABOUT.replace('limits = ["everything"]\n', ""))
    with pytest.raises(DFCNetError, match=r"key limits is missing; add it; models/demo/about\.toml shows"):
        ship(run)
    about.write_text(ABOUT)
    (run.folder / "weights.caffemodel").write_bytes(b"")
    with pytest.raises(WeightsError, match="not whole"):
        ship(run)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_files_of_a_shipped_net_have_the_checksums_of_its_readme(name):
    text = (MODELS / name / "README.md").read_text()
    found = dict(re.findall(r"^\| `(\S+)` \| `(\w{64})` \|$", text, re.M))
    assert set(found) == {"deploy.prototxt", "weights.caffemodel", "weights.json"}
    for file, checksum in found.items():
        assert sha256((MODELS / name / file).read_bytes()).hexdigest() == checksum
    assert read_about(MODELS / name / "about.toml").title in text
    assert read_card(MODELS / name / "weights.caffemodel").trained_on


def test_shipped_nets_are_small():
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 8e6


def test_a_model_that_is_not_there_is_refused_with_the_names_of_those_that_are(run_tool, tmp_path):
    done = run_tool("predict.py", "--model", "no_such", "--out", tmp_path / "maps", tmp_path)
    refused(done, "--model no_such: is not a model of models/", "demo")
    done = run_tool("predict.py", "--model", "demo", "--run", tmp_path, "--out", tmp_path / "maps", tmp_path)
    refused(done, "--model stands for deploy net and weights")


@pytest.mark.caffe
def test_the_demos_net_maps_new_scenes_without_any_training(run_tool, tmp_path):
    made = run_tool(
        "make_scenes.py", "--out", tmp_path / "scenes", "--land", 2, "--road", 0, "--size", 384, "--seed", 77
    )
    assert made.returncode == 0, made.stderr
    done = run_tool("predict.py", "--model", "demo", "--out", tmp_path / "maps", tmp_path / "scenes" / "land")
    assert (done.returncode, done.stderr) == (0, "")
    right = []
    for mask in (tmp_path / "scenes" / "land").glob("*_mask.png"):
        truth = read_truth(mask, LAND)
        right.append((read_map(tmp_path / "maps" / mask.name, LAND) == truth)[truth != 255].mean())
    assert len(right) == 2
    assert np.mean(right) > 0.6


@pytest.mark.caffe
@pytest.mark.real_data
@pytest.mark.skipif("deepglobe_5m" not in SHIPPED, reason="it is not there")
def test_the_scores_of_the_net_for_real_scenes_are_those_of_its_readme(run_tool, tmp_path):
    scenes = Path(os.environ["DFCNET_DATA"], "deepglobe/land_256/train")
    part = ("--hold-out", 5)
    done = run_tool("predict.py", "--model", "deepglobe_5m", *part, "--out", tmp_path / "maps", scenes)
    assert done.returncode == 0, done.stderr
    arguments = ("--truth", scenes, "--pred", tmp_path / "maps", *part, "--json", tmp_path / "score.json")
    assert run_tool("evaluate.py", *arguments).returncode == 0
    score = json.loads((tmp_path / "score.json").read_text())
    text = (MODELS / "deepglobe_5m" / "README.md").read_text()
    for key in ("miou", "accuracy", "frequency_weighted_iou"):
        stated = float(re.search(rf"type: {key}, .*value: ([\d.]+)", text)[1])
        assert 100 * score[key] == pytest.approx(stated, abs=0.01)
