"""Outputs appear whole or not at all."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from common.errors import OutputError
from common.files import refuse_existing, staged_file, staged_folder, write_text

ROOT = Path(__file__).parents[2]
# A process whose files may have 1000 bytes: the system refuses the next one, as a full disk does.
LITTLE_ROOM = """
import resource, sys
from pathlib import Path
from common.errors import OutputError
from common.files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_text(Path("small.txt"), "x" * 1000)
try:
    write_text(Path("large.txt"), "x" * 1001)
except OutputError as error:
    print(error)
"""


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "deep" / "a.png"
    with staged_file(target) as staged:
        assert staged.parent == target.parent
        assert staged.suffix == ".png"
        staged.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert names(target.parent) == ["a.png"]


@pytest.mark.parametrize("staging", [staged_file, staged_folder])
def test_new_folders_that_stay_empty_go_with_what_failed(tmp_path, staging):
    (tmp_path / "there").mkdir()
    for parent in (tmp_path / "new" / "deep", tmp_path / "there"):
        with pytest.raises(KeyError), staging(parent / "a.png"):
            raise KeyError
    assert names(tmp_path) == ["there"]
    with pytest.raises(KeyError), staging(tmp_path / "new" / "deep" / "a.png"):
        (tmp_path / "new" / "other").write_bytes(b"of somebody else")
        raise KeyError
    assert names(tmp_path / "new") == ["other"]


def test_a_folder_appears_when_the_block_ends(tmp_path):
    with staged_folder(tmp_path / "new" / "out") as staged:
        (staged / "a").write_text("whole")
        assert names(tmp_path / "new") == [staged.name] != ["out"]
    assert names(tmp_path / "new") == ["out"]
    assert (tmp_path / "new/out/a").read_text() == "whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing_behind(tmp_path, error):
    with pytest.raises(error), staged_file(tmp_path / "a.txt") as staged:
        staged.write_text("half")
        raise error
    with pytest.raises(error), staged_folder(tmp_path / "out") as staged:
        (staged / "a").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_an_exception_leaves_the_old_output_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("old")
    with pytest.raises(ValueError, match="broken"), staged_file(tmp_path / "a.txt") as staged:
        staged.write_text("half")
        raise ValueError("broken")
    with pytest.raises(ValueError, match="broken"), staged_folder(tmp_path / "out", overwrite=True) as staged:
        (staged / "a").write_text("half")
        raise ValueError("broken")
    assert names(tmp_path) == ["a.txt", "out"]
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path / "out") == ["mine"]


def test_overwriting_replaces_all_of_the_old_output(tmp_path):
    (tmp_path / "a.txt").write_text("old and longer")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with staged_file(tmp_path / "a.txt", overwrite=True) as staged:
        staged.write_text("new")
    with staged_folder(tmp_path / "out", overwrite=True) as staged:
        (staged / "new").write_text("new")
    assert names(tmp_path) == ["a.txt", "out"]
    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path / "out") == ["new"]


def test_who_reads_a_file_while_it_is_replaced_sees_the_old_one_whole(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with (tmp_path / "a.txt").open() as reading:
        write_text(tmp_path / "a.txt", "new")
        assert reading.read() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_existing_outputs_are_refused_before_the_block_begins(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "out").mkdir()
    for stage, name in ((staged_file, "a.txt"), (staged_folder, "out")):
        with pytest.raises(OutputError, match="--overwrite") as caught, stage(tmp_path / name, False):
            pytest.fail("the block began")
        assert caught.value.where == str(tmp_path / name)
    assert names(tmp_path) == ["a.txt", "out"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_refuse_existing_lets_new_names_and_overwriting_pass(tmp_path):
    refuse_existing(tmp_path / "new", overwrite=False)
    refuse_existing(tmp_path, overwrite=True)
    with pytest.raises(OutputError):
        refuse_existing(tmp_path, overwrite=False)


def test_permissions_follow_the_umask(tmp_path, umask):
    with staged_file(tmp_path / "a.txt") as staged:
        staged.write_text("x")
    with staged_folder(tmp_path / "out") as staged:
        pass
    assert mode(tmp_path / "a.txt") == 0o666 & ~umask
    assert mode(tmp_path / "out") == 0o777 & ~umask
    os.umask(before := os.umask(0))
    assert before == umask  # the process's own is as it was


def test_a_place_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    for stage in (staged_file, staged_folder):
        with pytest.raises(OutputError, match="cannot be written") as caught, stage(tmp_path / "file" / "a"):
            pytest.fail("the block began")
        assert caught.value.where == str(tmp_path / "file")


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    for name, stage in (("mkstemp", staged_file), ("mkdtemp", staged_folder)):
        monkeypatch.setattr(tempfile, name, refuse)
        with pytest.raises(OutputError, match="Permission denied"), stage(tmp_path / "a"):
            pytest.fail("the block began")


def test_text_is_written_as_utf8_in_one_step(tmp_path):
    write_text(tmp_path / "a.txt", "Straße\n")
    write_text(tmp_path / "a.txt", "Weg → Ort\n")
    assert (tmp_path / "a.txt").read_bytes() == b"Weg \xe2\x86\x92 Ort\n"
    with pytest.raises(OutputError):
        write_text(tmp_path / "a.txt", "no", overwrite=False)
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("chapter one")
    fact = r"home: is a folder of something else \(no a.json or b in it\)"
    stage = staged_folder(tmp_path / "home", overwrite=True, markers=("a.json", "b"))
    with pytest.raises(OutputError, match=fact), stage:
        pytest.fail("the block began")
    assert names(tmp_path / "home") == ["thesis.tex"]


@pytest.mark.parametrize("content", [[], ["b"], ["b", "notes"]])
def test_an_empty_folder_and_an_older_output_are_replaced(tmp_path, content):
    (tmp_path / "out").mkdir()
    for name in content:
        (tmp_path / "out" / name).write_text("old")
    with staged_folder(tmp_path / "out", overwrite=True, markers=("a.json", "b")) as staged:
        (staged / "b").write_text("new")
    assert names(tmp_path / "out") == ["b"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with staged_folder(tmp_path / "out", overwrite=True) as staged:
        (staged / "b").write_text("new")
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path / "disk") == ["b"]


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "score.json").mkdir()
    with (
        pytest.raises(OutputError, match="is a folder"),
        staged_file(tmp_path / "score.json", overwrite=True),
    ):
        pytest.fail("the block began")


def test_a_full_disk_is_told_in_one_line(tmp_path):
    with pytest.raises(OutputError, match="No space left on device"), staged_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_a_file_that_the_system_refuses_in_the_middle_is_told_in_one_line(tmp_path):
    (tmp_path / "large.txt").write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_ROOM],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("large.txt: cannot be written (File too large); check the disk")
    assert names(tmp_path) == ["large.txt", "small.txt"]
    assert (tmp_path / "large.txt").read_text() == "old"
    assert (tmp_path / "small.txt").stat().st_size == 1000


def test_what_another_process_has_made_meanwhile_is_kept(tmp_path):
    with pytest.raises(OutputError, match="out: exists already"), staged_folder(tmp_path / "out") as staged:
        (staged / "late").write_text("late")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "early").write_text("a week of training")
    with pytest.raises(OutputError, match=r"a\.txt: exists already"), staged_file(tmp_path / "a.txt", False):
        (tmp_path / "a.txt").write_text("early")
    assert names(tmp_path) == ["a.txt", "out"]
    assert names(tmp_path / "out") == ["early"]
    assert (tmp_path / "a.txt").read_text() == "early"


@pytest.mark.parametrize("step", [1, 2])
def test_an_interrupt_between_two_renames_loses_nothing(tmp_path, monkeypatch, step):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("a week of training")
    rename, calls = os.replace, []

    def interrupted(*paths):
        calls.append(paths)
        if len(calls) == step:
            raise KeyboardInterrupt
        rename(*paths)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "out", overwrite=True) as staged:
        (staged / "new").write_text("new")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["old"]


def test_a_folder_of_something_else_that_has_come_meanwhile_is_kept(tmp_path):
    stage = staged_folder(tmp_path / "out", overwrite=True, markers=("b",))
    with pytest.raises(OutputError, match="is a folder of something else"), stage:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("chapter one")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["thesis.tex"]
