"""The mapping file: which class each number of a label raster is (TOML).

[values]
1 = "urban"
2 = "agriculture"
40 = "agriculture"
99 = "ignore"
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import DataError
from data_prep.classes import IGNORE, Task
from data_prep.decoding import read_bytes

IGNORE_NAME = "ignore"
TABLE_BITS = 16  # of integers for which a table of all is quicker than a search for each


@dataclass(frozen=True)
class LabelValues:
    """Numbers of a label raster and their labels: `labels[k]` is the label of `numbers[k]`, sorted by number.

    `path` is the mapping file, None where the numbers are the labels themselves.
    """

    path: Path | None
    numbers: tuple[int, ...]
    labels: tuple[int, ...]

    def names(self, task: Task) -> dict[str, str]:
        """Return the mapping as the file has it: number -> class name or "ignore"."""
        known = dict(enumerate(task.classes)) | {IGNORE: IGNORE_NAME}
        return {str(number): known[label] for number, label in zip(self.numbers, self.labels, strict=True)}

    def _remedy(self, value: int) -> str:
        if self.path is None:
            known = ", ".join(map(str, self.numbers))
            return f"give class numbers ({known}); other numbers of true masks are mapped by --mapping"
        return f'add {value} = "<class>" or "{IGNORE_NAME}" to {self.path}'

    def apply(self, values: np.ndarray, nodata: np.ndarray, where: object) -> np.ndarray:
        """Turn integers (H, W) into labels, uint8 (H, W); IGNORE where `nodata`, bool (H, W), is true.

        Raises DataError, naming `where`, for a number that the file does not have.
        """
        limits = np.iinfo(values.dtype)
        if limits.bits <= TABLE_BITS:
            labels, known = self._look_up(np.arange(limits.min, limits.max + 1))
            at = values if limits.min == 0 else values.astype(np.int32) - limits.min
            labels, known = labels[at], known[at]
        else:
            labels, known = self._look_up(values.astype(np.int64, casting="safe"))
        strange = ~(known | nodata)
        if strange.any():
            value = int(values[strange][0])
            fact = f"holds {value} ({strange.sum()} pixels of no known number)"
            raise DataError(where, fact, self._remedy(value))
        return np.where(nodata, np.uint8(IGNORE), labels)

    def _look_up(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of integers, uint8, and where they are known, bool."""
        numbers = np.array(self.numbers, np.int64)
        at = np.searchsorted(numbers, values).clip(max=len(numbers) - 1)
        return np.array(self.labels, np.uint8)[at], numbers[at] == values


def read_label_values(path: Path, task: Task) -> LabelValues:
    """Read a mapping file; raise DataError for a key that is no integer or a value that is no class."""
    try:
        table = tomllib.loads(read_bytes(Path(path)).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(path, f"is no TOML ({error})", 'write lines as 1 = "urban" under [values]') from error
    values = table.pop("values", None)
    if table or not isinstance(values, dict) or not values:
        fact = (
            f"has the keys {', '.join(sorted(table)) or 'none'} beside [values]"
            if table
            else "has no [values]"
        )
        raise DataError(path, fact, 'write lines as 1 = "urban" under [values], nothing else')
    names = {name: label for label, name in enumerate(task.classes)} | {IGNORE_NAME: IGNORE}
    pairs = {}
    for key, name in values.items():
        if not isinstance(name, str) or name not in names:
            raise DataError(path, f"{key} = {name!r} is no class", f"give one of {', '.join(names)}")
        pairs[_number(path, key)] = names[name]
    if len(pairs) < len(values):
        raise DataError(path, "has a number twice", "write each number once, as 7 and not 07")
    return LabelValues(Path(path), tuple(sorted(pairs)), tuple(pairs[number] for number in sorted(pairs)))


def _number(path: Path, key: str) -> int:
    try:
        number = int(key)
    except ValueError:
        number = None
    if number is None or not -(2**31) <= number < 2**32:
        raise DataError(path, f"key {key!r} is no integer of 32 bits", "give the numbers of the raster")
    return number
