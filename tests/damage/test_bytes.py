"""Every byte of a file of each kind, set to other values, and every truncation: right, or one line.

Readers run in another process, as those of the product do: an input at which one crashes is found and named.
What may come of a damaged file: what the good one gives; an error of this project in one line; or, at bytes
that no checksum covers, something else that is valid, as another rate in an experiment. docs/reliability.md
has the counts, which `python -m pytest -s -m long tests/damage/test_bytes.py` prints.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from common.errors import DFCNetError
from data_prep.workers import Result, ordered
from tests.damage.kinds import KINDS, made

pytestmark = pytest.mark.caffe
FAST = 40  # inputs of a kind in the quick test
RIGHT, REFUSED, OTHER = "right", "refused", "another valid file"
Damage = tuple[int, int | None]  # place and value of a byte; None: the file ends there
Job = tuple[str, Path, Damage]


def damages(data: bytes, values: int) -> list[Damage]:
    """Every truncation, and every byte set to at most so many other values."""
    changes = [(at, None) for at in range(len(data))]
    for at, byte in enumerate(data):
        others = dict.fromkeys((byte ^ 1, byte ^ 0x80, 0, 255, byte ^ 0x20))
        others.pop(byte, None)
        changes += [(at, value) for value in list(others)[:values]]
    return changes


def damaged(data: bytes, damage: Damage) -> bytes:
    at, value = damage
    return data[:at] if value is None else data[:at] + bytes([value]) + data[at + 1 :]


@cache
def good(name: str, path: Path) -> tuple[bytes, object, range]:
    """The bytes of a file, what it holds, and what its checksums cover."""
    data = path.read_bytes()
    return data, KINDS[name].read(path), KINDS[name].covered(data)


def outcome(name: str, path: Path, damage: Damage) -> str:
    data, right, covered = good(name, path)
    path.write_bytes(damaged(data, damage))
    try:
        content = KINDS[name].read(path)
    except DFCNetError as error:
        return REFUSED if "\n" not in str(error) else f"several lines: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        path.write_bytes(data)
    if content == right:
        return RIGHT
    at, value = damage
    cut = value is None and at <= covered.stop - 1 and len(covered) > 0
    return "a checksum was passed over" if at in covered or cut else OTHER


def outcomes(job: Job) -> Iterator[Result]:
    yield outcome(*job), b""


def tried(folder: Path, some: Callable[[str, bytes], Sequence[Damage]]) -> dict[str, Counter]:
    """Try what `some` chooses of each kind; return how often came what, a fault with the input it came of."""
    paths = {name: made(name, folder / str(number)) for number, name in enumerate(KINDS)}
    contents = {name: path.read_bytes() for name, path in paths.items()}
    jobs = [(name, path, damage) for name, path in paths.items() for damage in some(name, contents[name])]

    def crashed(job: Job, by: str) -> Result:
        job[1].write_bytes(contents[job[0]])
        return by, b""

    counts = {name: Counter() for name in KINDS}
    results = ordered(outcomes, jobs, 1, 64, 1, crashed=crashed)
    for (name, _, damage), (came, _) in zip(jobs, results, strict=True):
        counts[name][came if came in (RIGHT, REFUSED, OTHER) else f"{damage}: {came}"] += 1
    return counts


def check(counts: dict[str, Counter]) -> None:
    faults = []
    for name, came in counts.items():
        words = ", ".join(f"{came[kind]} {kind}" for kind in (RIGHT, REFUSED, OTHER))
        print(f"{name}: {came.total()} tried, {words}")
        faults += [f"{name} {fault}" for fault in came if fault not in (RIGHT, REFUSED, OTHER)]
        assert came[REFUSED] > 0
    assert not faults, f"{len(faults)} faults: {faults[:20]}"


def test_some_bytes_of_each_kind(tmp_path):
    def spread(name: str, data: bytes) -> Sequence[Damage]:
        changes = damages(data, 1)
        return changes[:: max(1, len(changes) // FAST)]

    check(tried(tmp_path, spread))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_byte_of_each_kind(tmp_path):
    check(tried(tmp_path, lambda name, data: damages(data, 1 if name == "LMDB" else 4)))
