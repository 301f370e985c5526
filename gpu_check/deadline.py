"""Time that is shared: the whole run's budget, and the part of it that a check may take."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gpu_check.isolation import ProcessDied
from gpu_check.rows import Row

DEFAULT_LIMIT = 1800.0  # seconds that a check may take where there is no budget


class DeadlineExpired(Exception):
    """There is no time left to begin something."""


class Deadline:
    """An end in time, `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        """Begin to count."""
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds until then; raise DeadlineExpired where there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise DeadlineExpired
        return left

    def share(self) -> float:
        """Return half of the seconds until then: one of several that hangs leaves time for the others."""
        return self.left() / 2


@dataclass(frozen=True)
class Check:
    """Rows that belong together: not started with less than `least` seconds, ended after `most`."""

    name: str
    least: float
    most: float
    rows: Callable[[Deadline], Iterator[Row]]


def run(checks: Iterable[Check], budget: float | None) -> Iterator[Row]:
    """Run checks in their order within `budget` seconds (None: each as long as it takes); yield their rows.

    What no time is left for is a row that says so; so is a check that fails as a whole.
    """
    end = time.monotonic() + (math.inf if budget is None else budget)
    for check in checks:
        left = end - time.monotonic()
        if left < check.least:
            words = f"skipped: needs {check.least:.0f} s, {max(left, 0):.0f} are left"
            yield Row(check.name, None, words)
            continue
        share = DEFAULT_LIMIT if budget is None else min(check.most, left)
        try:
            yield from check.rows(Deadline(share))
        except DeadlineExpired:
            yield Row(check.name, None, f"its other rows are skipped: its {share:.0f} s are over")
        except ProcessDied as error:
            yield Row(check.name, False, str(error))
        except Exception as error:  # a bug in a check must not cost the others
            yield Row(check.name, False, f"{type(error).__name__}: {error}")
