"""The examples of docs/python.md run as they are written, on a small run in place of the demo's."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.test_readme import ROOT, fences

PAGE = ROOT / "docs" / "python.md"


@pytest.mark.caffe
def test_the_pages_examples_run_one_after_the_other(tiny, tmp_path, run_tool):
    scenes, run, maps = (tmp_path / "runs" / "demo" / name for name in ("scenes", "train", "maps"))
    (tmp_path / "solvers").symlink_to(ROOT / "solvers")
    for words in (
        ["make_scenes.py", "--out", scenes, "--land", 2, "--size", 72],
        ["train.py", tiny, "--cpu", "--run", run],
        ["predict.py", "--run", run, "--out", maps, scenes / "land"],
        ["evaluate.py", "--truth", scenes / "land", "--pred", maps, "--json", tmp_path / "scores.json"],
    ):
        done = run_tool(*words)
        assert done.returncode == 0, done.stderr
    examples = fences(PAGE, "python")
    assert len(examples) == 3
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"dfcnet: \d+ layers, 19,\d{3},\d{3} parameters", done.stdout)
    assert "(6, 72, 72)" in done.stdout
    (miou,) = re.findall(r"mIoU (\d\.\d{4})", done.stdout)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert f"{scores['miou']:.4f}" == miou
