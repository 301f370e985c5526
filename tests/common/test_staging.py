"""Unfinished files stand apart, and go with their owner."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import OutputError
from common.staging import PREFIX, staging_directory

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from common.staging import staging_directory
with staging_directory(Path(sys.argv[1])) as folder:
    (folder / "half.tif").write_bytes(b"half")
    print(folder, flush=True)
    time.sleep(60)
"""


def left(out: Path) -> list[Path]:
    return list(out.glob(f"{PREFIX}*"))


def test_it_is_there_during_the_block_and_gone_after_it_with_a_new_folder_that_stays_empty(tmp_path):
    out = tmp_path / "new" / "maps"
    with pytest.raises(KeyError), staging_directory(out) as folder:
        (folder / "a").write_bytes(b"a")
        assert left(out) == [folder]
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    out.mkdir(parents=True)
    for kept in ((), ("a.tif",)):
        with staging_directory(out):
            for name in kept:
                (out / name).write_bytes(b"a")
        assert [path.name for path in out.iterdir()] == list(kept)


def test_that_of_a_living_process_stays_and_that_of_a_killed_one_goes(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        theirs = Path(process.stdout.readline().strip())
        with staging_directory(tmp_path) as mine:
            assert sorted(left(tmp_path)) == sorted([theirs, mine])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert (theirs / "half.tif").exists()
    with staging_directory(tmp_path) as mine:
        assert left(tmp_path) == [mine]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match="file/maps: cannot be written"),
        staging_directory(tmp_path / "file" / "maps"),
    ):
        pass


@pytest.mark.parametrize("folder", ["/proc", "/sys", "/proc/self/maps"])
def test_a_folder_that_takes_no_files_is_named(folder):
    with pytest.raises(OutputError, match=f"{folder}: cannot be written"), staging_directory(Path(folder)):
        pass
