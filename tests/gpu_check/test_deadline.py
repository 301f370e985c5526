"""A budget that checks share."""

from collections.abc import Callable, Iterator

import pytest

from gpu_check.deadline import Check, Deadline, DeadlineExpired, run
from gpu_check.isolation import ProcessDied
from gpu_check.rows import Row


def seconds(words: str = "done") -> Callable[[Deadline], Iterator[Row]]:
    def rows(deadline: Deadline) -> Iterator[Row]:
        yield Row(words, True, f"{deadline.left():.0f} s")

    return rows


def test_each_check_gets_its_share_of_the_time_that_is_left():
    checks = [
        Check("a", 1, 40, seconds("a")),
        Check("b", 70, 90, seconds("b")),
        Check("c", 1, 90, seconds("c")),
    ]
    assert [row.words for row in run(checks, 60)] == ["40 s", "skipped: needs 70 s, 60 are left", "60 s"]
    assert [row.words for row in run(checks[:1], None)] == ["1800 s"]


def test_a_check_that_fails_or_runs_out_of_time_is_a_row_and_the_next_one_runs():
    def dies(_: Deadline) -> Iterator[Row]:
        yield Row("first", True, "")
        raise ProcessDied("signal 6: out of memory")

    def is_late(_: Deadline) -> Iterator[Row]:
        Deadline(0).left()
        yield Row("never", True, "")

    def is_wrong(_: Deadline) -> Iterator[Row]:
        raise KeyError("name")

    checks = [Check(each.__name__, 0, 9, each) for each in (dies, is_late, is_wrong)]
    assert [(row.name, row.ok, row.words) for row in run([*checks, Check("d", 0, 9, seconds())], 99)] == [
        ("first", True, ""),
        ("dies", False, "signal 6: out of memory"),
        ("is_late", None, "its other rows are skipped: its 9 s are over"),
        ("is_wrong", False, "KeyError: 'name'"),
        ("done", True, "9 s"),
    ]


def test_a_deadline_that_is_over_gives_no_time():
    for seconds_left in (Deadline(-1).left, Deadline(-1).share):
        with pytest.raises(DeadlineExpired):
            seconds_left()


def test_one_of_several_gets_half_of_the_time():
    assert 49 < Deadline(100).share() <= 50
