"""Rows are measured in turns; what is missing, wrong, dead or too large says so."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

ROW = """
import sys, time
from pathlib import Path
import numpy as np
sys.path.insert(0, {benchmarks!r})
from serving import serve

def make(folder, threads):
    {setup}
    def run():
        with open({log!r}, "a") as log:
            print({name!r}, file=log)
        {work}
        return {{"y": np.full(3, {answer}, np.float32)}}
    return run

serve({{"kind": make}})
"""


@pytest.fixture
def make_row(tmp_path, monkeypatch):
    """Return a function that makes a row of a little program; all write their names into `log`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from speed_cases import SpeedCase

    def make(name, answer=1.0, work="pass", setup="pass", needs=0.0):
        path = tmp_path / f"{name}.py"
        parts = {"name": name, "answer": answer, "work": work, "setup": setup}
        path.write_text(ROW.format(benchmarks=str(BENCHMARKS), log=str(tmp_path / "log"), **parts))
        return SpeedCase(name, (sys.executable, str(path), "kind", str(tmp_path), "1"), needs)

    return make


def measured(tmp_path, rows, rounds=2):
    from speed_measuring import measure

    return {result.name: result for result in measure(rows, rounds, 1, tmp_path)}


def ran(tmp_path) -> list[str]:
    return (tmp_path / "log").read_text().split()


def test_rows_take_turns_after_a_warm_up_of_each(tmp_path, make_row):
    results = measured(tmp_path, [make_row("a"), make_row("b", work="time.sleep(0.05)")], rounds=3)
    assert ran(tmp_path) == ["a", "b"] * 4
    assert [len(result.seconds) for result in results.values()] == [3, 3]
    assert 0.05 <= results["b"].median < 0.5
    assert results["a"].median < 0.05


def test_peak_memory_is_the_rows_own(tmp_path, make_row):
    mine = np.ones(40_000_000, np.float32)  # this process is large, its children need not be
    rows = [make_row("small"), make_row("large", work="np.ones(25_000_000, np.float32).sum()")]
    results = measured(tmp_path, rows, rounds=1)
    assert results["small"].peak < 100e6 < mine.nbytes
    assert 100e6 < results["large"].peak < 200e6


def test_an_answer_that_differs_is_wrong(tmp_path, make_row):
    rows = [make_row("a"), make_row("near", 1.0005), make_row("far", 1.002), make_row("nan", "float('nan')")]
    results = measured(tmp_path, rows, rounds=0)
    assert {name: result.wrong for name, result in results.items()} == {
        "a": False,
        "near": False,
        "far": True,
        "nan": True,
    }
    assert results["far"].difference == pytest.approx(0.002, abs=1e-5)


def test_a_package_that_is_missing_and_a_process_that_dies_are_remarks(tmp_path, make_row):
    rows = [
        make_row("a"),
        make_row("missing", setup="import no_such_engine"),
        make_row("dying", work="sys.exit('out of oil')"),
    ]
    results = measured(tmp_path, rows)
    assert results["missing"].remark == "no_such_engine is not installed"
    assert results["dying"].remark == "ended with 1: out of oil"
    assert len(results["a"].seconds) == 2


def test_rows_make_room_for_each_other_and_what_never_fits_is_left_out(tmp_path, make_row, monkeypatch):
    import speed_measuring

    rows = [make_row("a", needs=60), make_row("b", needs=60), make_row("giant", needs=101)]
    alive: dict[str, object] = {}

    class Counted(speed_measuring.RowProcess):
        def __init__(self, row, threads):
            super().__init__(row, threads)
            self.name = row.name
            alive[row.name] = self

        def resident(self):
            return 60

        def run(self):
            return super().run()[0], 60

        def close(self):
            alive.pop(self.name, None)
            super().close()

    monkeypatch.setattr(speed_measuring, "RowProcess", Counted)
    monkeypatch.setattr(speed_measuring, "available_bytes", lambda: 100.0 - 60 * len(alive))
    results = measured(tmp_path, rows)
    assert results["giant"].remark.startswith("left out: may need")
    assert [len(results[name].seconds) for name in "ab"] == [2, 2]
    assert not alive
    # Each gave way to the other, and was warmed up again; the giant made both leave in the first round.
    assert ran(tmp_path) == ["a", "b", "a", "a", "b", "b", "a", "a", "b", "b"]
