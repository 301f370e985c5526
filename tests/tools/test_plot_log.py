"""The command draws the curves of runs, resumed ones too."""

import json

import cv2
import pytest

from common.errors import DataError
from tests.conftest import refused
from training.curves import read_log

LINES = [
    {"start": 0, "seed": 1, "experiment": "tiny"},
    {"iteration": 20, "loss": {"land": 1.5, "road": 0.5}, "lr": 0.05},
    {"iteration": 20, "validation": {"miou": 0.25, "tasks": {"land": {"miou": 0.25, "iou": {}}}}},
    {"iteration": 20, "snapshot": True},
    {"iteration": 40, "loss": {"land": 9.0, "road": 9.0}, "lr": 0.04},
    {"start": 20, "seed": 1, "experiment": "tiny"},
    {"iteration": 40, "loss": {"land": 1.0, "road": 0.25}, "lr": 0.04},
]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return tmp_path / "a"


def test_what_was_done_again_after_a_resume_counts(run):
    assert read_log(run) == {
        "land loss": {20: 1.5, 40: 1.0},
        "road loss": {20: 0.5, 40: 0.25},
        "lr": {20: 0.05, 40: 0.04},
        "land mIoU": {20: 0.25},
    }


def test_a_last_line_that_was_cut_off_is_left_out(run):
    text = (run / "log.jsonl").read_text()
    (run / "log.jsonl").write_text(text[:-20])
    assert read_log(run)["land loss"] == {20: 1.5}
    (run / "log.jsonl").write_text(text.replace('"seed"', "seed", 1))
    with pytest.raises(DataError, match="line 1 is not JSON"):
        read_log(run)


def test_several_runs_are_drawn(run, tmp_path, run_tool):
    done = run_tool("plot_log.py", run, run / "log.jsonl", "--names", "a", "b", "--out", tmp_path / "c.png")
    assert done.returncode == 0, done.stderr
    picture = cv2.imread(str(tmp_path / "c.png"))
    assert picture.shape[1] == 1200
    assert len({tuple(pixel) for row in picture[::7] for pixel in row[::7]}) > 3
    refused(run_tool("plot_log.py", run, "--out", tmp_path / "c.png"), "c.png: exists already", "--overwrite")


def test_mistakes_are_named(run, tmp_path, run_tool):
    refused(run_tool("plot_log.py", tmp_path / "none", "--out", tmp_path / "c.png"), "none", "cannot be read")
    refused(
        run_tool("plot_log.py", run, "--out", tmp_path / "c.gif"), "c.gif: has the extension '.gif'", ".png"
    )
    refused(run_tool("plot_log.py", run, run, "--out", tmp_path / "c.png"), "--names", "2 runs")


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not UTF-8 text"),
        (b'3\n{"iteration": 1}\n', "line 1 is not an entry"),
        (b'"lr"\n{"iteration": 1}\n', "line 1 is not an entry"),
        (b'{"start": 0}\n{"lr": 0.5}\n', "line 2 is not an entry"),
        (b'{"iteration": 1, "loss": 3}\n', "line 1 is not an entry"),
        (b'{"iteration": 1, "lr": "fast"}\n', "line 1 is not an entry"),
        (b'{"iteration": [1], "lr": 0.5}\n', "line 1 is not an entry"),
        (b'{"iteration": 1e999, "lr": 0.5}\n', "line 1 is not an entry"),
        (b'{"start": null}\n', "line 1 is not an entry"),
        (b'{"iteration": 1, "validation": {"tasks": {"land": {}}}}\n', "line 1 is not an entry"),
        (b"[" * 100000 + b"\n{}\n", "line 1 is not JSON"),
        (b'{"start": 0}\n', "holds no display step"),
    ],
)
def test_what_is_not_a_log_is_an_error_that_names_the_file_and_the_line(tmp_path, content, fact):
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=rf"log\.jsonl: {fact}") as caught:
        read_log(tmp_path / "log.jsonl")
    assert "\n" not in str(caught.value)


def test_a_picture_is_not_a_log_for_the_command_either(run, tmp_path, run_tool):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused(run_tool("plot_log.py", tmp_path / "a.png", "--out", tmp_path / "c.png"), "a.png: is not UTF-8")
