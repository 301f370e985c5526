"""Where a file system has no locks, work goes on with a line on stderr, and nothing is left behind."""

import errno
import fcntl
import os

import pytest

from common.staging import staging_directory
from data_prep.build_lock import build_lock
from training.driver import run_lock

HOLDERS = {
    "staging": staging_directory,
    "database": lambda folder: build_lock(folder / "db"),
    "run": run_lock,
}


@pytest.fixture(
    params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=lambda number: errno.errorcode[number]
)
def without_locks(request, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)


@pytest.mark.parametrize("holder", HOLDERS)
def test_work_goes_on_with_a_warning_and_leaves_nothing(tmp_path, capfd, without_locks, holder):
    with HOLDERS[holder](tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert str(tmp_path) in said
    assert "no locks" in said


@pytest.mark.parametrize(
    ("name", "holder"), [(".unfinished.theirs", "staging"), (".db.abcd1234", "database")]
)
def test_what_may_be_another_processs_work_stays(tmp_path, capfd, without_locks, name, holder):
    (tmp_path / name).mkdir()
    (tmp_path / name / "lock").write_bytes(b"")
    with HOLDERS[holder](tmp_path):
        pass
    assert (tmp_path / name / "lock").exists()
