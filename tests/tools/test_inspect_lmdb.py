"""The command checks a database and draws it, or says in one line what is wrong with it."""

import cv2
import numpy as np
import pytest

from tests.conftest import refused

pytestmark = pytest.mark.caffe


@pytest.fixture
def database(tmp_path, run_tool):
    run_tool("make_scenes.py", "--out", tmp_path / "scenes", "--land", 3, "--size", 96)
    build = ["build_lmdb.py", "dfcnet_demo", "land", "--images", tmp_path / "scenes" / "land"]
    done = run_tool(
        *build, "--out", tmp_path / "db", "--variants", 3, "--workers", 1, "--encode", "png", "--rotate"
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / "db"


def test_it_checks_and_draws(run_tool, database, tmp_path):
    done = run_tool("inspect_lmdb.py", database, "--sheet", tmp_path / "sheet.png", "--crops", 5)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{database}: 9 records" in done.stdout
    assert "agriculture" in done.stdout
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (2 * 282 + 22, 4 * 516, 3)  # and the legend


def test_a_damaged_database_is_named(run_tool, database, tmp_path):
    data = np.fromfile(database / "data.mdb", np.uint8)
    data[len(data) // 2] ^= 1
    data.tofile(database / "data.mdb")
    done = run_tool("inspect_lmdb.py", database, "--sheet", tmp_path / "sheet.png")
    refused(done, database / "data.mdb", "checksum", "build the database again")
    assert not (tmp_path / "sheet.png").exists()


def test_mistakes_end_in_one_line(run_tool, database, tmp_path):
    refused(run_tool("inspect_lmdb.py", tmp_path), "manifest.json", "cannot be read")
    refused(run_tool("inspect_lmdb.py", database, "--sheet", tmp_path / "s.jpg"), "s.jpg", "use .png")
    (tmp_path / "s.png").write_text("mine")
    refused(run_tool("inspect_lmdb.py", database, "--sheet", tmp_path / "s.png"), "exists already")
