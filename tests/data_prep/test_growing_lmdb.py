"""A database grows by itself, and the size predicted is the size it gets."""

import lmdb
import numpy as np
import pytest

from data_prep import growing_lmdb
from data_prep.growing_lmdb import GrowingLMDB, file_size


def fill(folder, values: list[bytes]) -> None:
    folder.mkdir()
    with GrowingLMDB(folder) as database:
        for number, value in enumerate(values):
            database.put(f"{number:08d}", value)


def test_it_outgrows_its_first_room(tmp_path, monkeypatch):
    monkeypatch.setattr(growing_lmdb, "FIRST_ROOM", 64 << 10)
    monkeypatch.setattr(growing_lmdb, "COMMIT_BYTES", 30000)
    rng = np.random.default_rng(0)
    values = [rng.bytes(int(size)) for size in rng.integers(1, 60000, 200)]
    fill(tmp_path / "db", values)
    assert (tmp_path / "db" / "data.mdb").stat().st_size > 50 * (64 << 10)
    with lmdb.open(str(tmp_path / "db"), readonly=True, lock=False) as database, database.begin() as reading:
        assert [value for _, value in reading.cursor()] == values


@pytest.mark.parametrize("size", [4400, 70000, 4 * 545**2])
def test_the_size_is_predicted(tmp_path, size):
    values = [bytes(size)] * 60
    fill(tmp_path / "db", values)
    actual = (tmp_path / "db" / "data.mdb").stat().st_size
    assert actual == pytest.approx(file_size(60, size), rel=0.01, abs=3 * 4096)


def test_a_key_twice_is_a_bug(tmp_path):
    with pytest.raises(KeyError, match="two records have the key a"), GrowingLMDB(tmp_path) as database:
        database.put("a", b"1")
        database.put("a", b"2")
