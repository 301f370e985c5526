"""The command writes the page, or says in one line what to fix."""

import pytest

from tests.conftest import refused
from tests.evaluation.page.finished_run import make_finished_run


@pytest.fixture
def run(tmp_path):
    return make_finished_run(tmp_path)


def test_the_page_stands_in_the_runs_folder(run, run_tool):
    done = run_tool("report.py", *run.arguments())
    assert (done.returncode, done.stderr) == (0, "")
    assert "report.html" in done.stdout
    text = (run.folder / "report.html").read_text()
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    refused(run_tool("report.py", *run.arguments()), "report.html", "--overwrite")
    assert run_tool("report.py", *run.arguments(), "--overwrite").returncode == 0


@pytest.mark.parametrize(
    "change, words",
    [
        (["--scenes", "0"], ["--scenes", "is 0"]),
        (["--pred", "none"], ["none", "is not a folder"]),
        (["--scores", "none.json"], ["none.json", "cannot be read"]),
    ],
)
def test_a_mistake_is_named_and_nothing_written(run, run_tool, change, words):
    refused(run_tool("report.py", *run.arguments(), *change), *words)
    assert not (run.folder / "report.html").exists()


def test_folders_of_scenes_come_together(run, run_tool):
    refused(run_tool("report.py", run.folder, "--images", run.scenes), "--images, --pred", "give both")
    scenes = ["--images", run.scenes, "--pred", run.maps]
    refused(run_tool("report.py", run.folder, "--scores", run.scores, *scenes), "--truth: is missing")
