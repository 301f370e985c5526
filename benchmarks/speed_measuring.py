"""Rows measured in turns: each row is a process of its own, and every round runs each of them once."""

import json
import math
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from speed_cases import SpeedCase

from inference.memory import available_bytes

Answers = dict[str, np.ndarray]


@dataclass
class Measurement:
    """What came of a row: seconds of each round, peak bytes, difference from the first row, or a remark."""

    name: str
    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    difference: float | None = None
    remark: str = ""
    wrong: bool = False

    @property
    def median(self) -> float:
        """Median of the rounds, in seconds; NaN where there was none."""
        return statistics.median(self.seconds) if self.seconds else float("nan")


class RowProcess:
    """A row's process, started and warmed up; `alive` until closed."""

    def __init__(self, row: SpeedCase, threads: int) -> None:
        count = {
            name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        }
        self._words = TemporaryFile("w+", errors="replace")  # noqa: SIM115  (open while the process is)
        self._process = subprocess.Popen(
            row.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            env=os.environ | count | row.environment,
        )
        self.missing = self._answer().get("missing")
        if not self.missing:
            self.run()  # the first pays for page faults and for choosing kernels

    def run(self) -> tuple[float, int]:
        """Run once; return seconds and the peak memory in bytes."""
        answer = self._tell("run")
        return answer["seconds"], answer["peak"]

    def answers(self, folder: Path) -> Answers:
        """Return the blobs of the last run."""
        path = folder / "answers.npz"
        self._tell(f"save {path}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def resident(self) -> int:
        """Return the bytes that the process holds now."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """End the process and give its memory back."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._words.close()
        self._process.wait()

    def _tell(self, line: str) -> dict:
        print(line, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._words.seek(0)
            words = self._words.read().strip().splitlines() or ["no word"]
            self.close()
            raise RuntimeError(f"ended with {code}: {words[-1]}")
        return json.loads(line)


def measure(
    rows: Sequence[SpeedCase],
    rounds: int,
    threads: int,
    folder: Path,
    aside: Callable[[], None] = lambda: None,
) -> list[Measurement]:
    """Run each row once a round; before the first round compare its answers with the first row's.

    Processes stay alive between rounds while memory allows; the largest make room. `aside` is called once
    a round, for what is to be measured at the same times. A row that cannot run says why in its remark.
    """
    results = {row.name: Measurement(row.name) for row in rows}
    processes: dict[str, RowProcess] = {}
    reference: Answers = {}
    try:
        for number in range(rounds + 1):
            for row in rows:
                result = results[row.name]
                if result.remark:
                    continue
                try:
                    process = _process(row, processes, result, threads)
                    if process is None:
                        continue
                    if number:
                        seconds, result.peak = process.run()
                        result.seconds.append(seconds)
                    else:
                        answers = process.answers(folder)
                        reference = reference or answers
                        result.difference = _difference(reference, answers)
                        result.wrong = not result.difference <= row.tolerance
                except RuntimeError as error:
                    result.remark = str(error)
                    processes.pop(row.name, None)
            if number:
                aside()
    finally:
        for process in processes.values():
            process.close()
    return list(results.values())


def _process(
    row: SpeedCase, processes: dict[str, RowProcess], result: Measurement, threads: int
) -> RowProcess | None:
    """Return the row's process, started if need be; None, with a remark, where it cannot run."""
    needs = max(row.needs if not result.peak else 0, result.peak)
    own = processes[row.name].resident() if row.name in processes else 0
    while _room() + own < needs:
        others = [name for name in processes if name != row.name]
        if not others:
            gigabytes = f"{needs / 1e9:.1f} GB, {(_room() + own) / 1e9:.1f} GB are free"
            result.remark = f"left out: may need {gigabytes}"
            return None
        processes.pop(max(others, key=lambda name: processes[name].resident())).close()
    if row.name not in processes:
        process = RowProcess(row, threads)
        if process.missing:
            process.close()
            result.remark = f"{process.missing} is not installed"
            return None
        processes[row.name] = process
    return processes[row.name]


def _difference(expected: Answers, answers: Answers) -> float:
    """Return the largest difference, relative for values above 1 (losses)."""
    if sorted(expected) != sorted(answers):
        return float("inf")
    gaps = [np.abs(answers[k] - expected[k]) / np.maximum(1, np.abs(expected[k])) for k in expected]
    return float(max(gap.max() for gap in gaps))


def _room() -> float:
    room = available_bytes()
    return math.inf if room is None else room


class Sgemm:
    """The machine's rate of matrix multiplication in float32, by numpy's BLAS."""

    SIDE = 3072

    def __init__(self) -> None:
        self._a, self._b = np.random.default_rng(0).normal(size=(2, self.SIDE, self.SIDE)).astype(np.float32)
        self._out = np.empty_like(self._a)
        self._seconds: list[float] = []
        self.measure()
        self._seconds.clear()  # of warming up

    def measure(self) -> None:
        """Multiply once more."""
        begin = time.perf_counter()
        np.matmul(self._a, self._b, out=self._out)
        self._seconds.append(time.perf_counter() - begin)

    @property
    def rate(self) -> float:
        """Floating-point operations a second, by the median of the measurements."""
        return 2 * self.SIDE**3 / statistics.median(self._seconds)
