"""One builder at a time; leftovers of dead builders go, what is somebody else's stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import OutputError
from data_prep.build_lock import build_lock

HOLD = """
import sys, time
from pathlib import Path
from data_prep.build_lock import build_lock
with build_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def make(folder: Path, *files: str) -> Path:
    folder.mkdir()
    for name in files:
        (folder / name).write_text("x")
    return folder


def test_leftovers_are_told_from_other_peoples_files(tmp_path):
    half = make(tmp_path / ".db.abcd1234", "data.mdb")
    empty = make(tmp_path / ".db.abcd_234")
    whole = make(tmp_path / ".db.zzzzzzzz", "data.mdb", "manifest.json")
    kept = [
        make(tmp_path / ".db.foreign1", "data.mdb", "notes.txt"),
        make(tmp_path / ".other.abcd1234", "data.mdb"),
        make(tmp_path / ".db.long_name_of_mine"),
        make(tmp_path / "db", "data.mdb", "manifest.json"),
    ]
    (tmp_path / ".db.link1234").symlink_to(kept[3])
    with pytest.raises(ZeroDivisionError), build_lock(tmp_path / "db"):
        assert not half.exists()
        assert not empty.exists()
        raise ZeroDivisionError
    assert whole.exists()  # perhaps the only whole copy: the block failed
    with build_lock(tmp_path / "db"):
        assert whole.exists()
    assert not whole.exists()
    assert all(path.exists() for path in kept)
    assert (tmp_path / ".db.link1234").is_symlink()
    assert not (tmp_path / ".db.lock").exists()


def test_a_second_builder_is_refused_until_the_first_is_dead(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "db")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="is being built by another process"):
            build_lock(tmp_path / "db").__enter__()
        with build_lock(tmp_path / "db2"):  # another output is free
            pass
        other.kill()
        other.wait()
    assert (tmp_path / ".db.lock").exists()  # killed: nobody removed it
    with build_lock(tmp_path / "db"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/sub: cannot be written"):
        build_lock(tmp_path / "file" / "sub" / "db").__enter__()
