"""The table and its file."""

import json
from collections.abc import Iterator

import pytest

from common.errors import OutputError
from gpu_check.rows import Row, show


def test_rows_are_kept_at_once_and_the_failed_ones_are_repeated(tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    kept = []

    def rows() -> Iterator[Row]:
        yield Row("layer Scale", True, "2.0e-07 of 1e-04", {"distance": 2e-7})
        kept.extend(map(json.loads, file.read_text().splitlines()))
        yield Row("resumed", False, "signal 6")
        yield Row("tile of 513", None, "105 ms")

    show({"devices": ["CPU"]}, rows(), file)
    assert kept == [
        {"devices": ["CPU"]},
        {"name": "layer Scale", "ok": True, "result": "2.0e-07 of 1e-04", "distance": 2e-7},
    ]
    assert len(file.read_text().splitlines()) == 4
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["ok", "FAILED", "tile"]
    assert lines[3:] == ["3 rows, 1 failed", "  resumed: signal 6"]


def test_a_file_that_cannot_be_written_is_refused_before_the_checks(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        show({}, (pytest.fail("the checks were started") for _ in range(1)), tmp_path / "file" / "rows")
