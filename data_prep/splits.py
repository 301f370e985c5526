"""Which scenes train and which test: by a seeded hash of the id, by lists, or every K-th id. Never crops."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from common.datasets import DATASETS
from common.errors import DataError
from common.files import read_bytes, write_text
from common.numbers import check_number, plural
from data_prep.scenes import composed

PARTS = ("train", "test")
ALL_PARTS = ("train", "validation", "test")  # of a split by lists
NAMED = DATASETS / "splits"  # splits that others have published, by lists
FORMAT = 2  # of split files; 1 had the task of version 1.0 in place of the data set


class HasSceneId(Protocol):
    """Anything that belongs to one scene."""

    id: str


T = TypeVar("T", bound=HasSceneId)


@dataclass(frozen=True)
class Split:
    """The parts of a data set's scenes, by hash or by lists.

    By hash, an id trains if its hash is below `threshold`, of 2^64: so its part depends on nothing but
    itself, the seed and the threshold. A split by lists has a `source` in place of these two, and may have
    scenes for validation.
    """

    dataset: str
    seed: int | None
    threshold: int | None
    train: tuple[str, ...]
    test: tuple[str, ...]
    validation: tuple[str, ...] = ()
    source: str | None = None

    @property
    def ids(self) -> frozenset[str]:
        """All ids, of whatever part."""
        return frozenset((*self.train, *self.validation, *self.test))

    def extended(self, ids: Iterable[str]) -> "Split":
        """Return this split with further ids; the old ones keep their part. DataError for one by lists."""
        if self.threshold is None:
            fact = "names a split by lists, which say nothing of other scenes"
            raise DataError("--extend", fact, "leave those scenes out by --leave-out")
        everything = {*self.train, *self.test, *ids}
        return _split(self.dataset, self.seed, self.threshold, everything)

    def select(self, scenes: Sequence[T], part: str, where: object) -> list[T]:
        """Return the scenes of one part; raise DataError for a scene in no part, and if none is left."""
        for scene in scenes:
            if scene.id not in self.ids:
                add = "" if self.threshold is None else "add it with dfcnet split-data --extend, or "
                raise DataError(where, f"lacks scene {scene.id}", f"{add}leave it out by --leave-out")
        ids = set(getattr(self, part))
        chosen = [scene for scene in scenes if scene.id in ids]
        if not chosen:
            raise DataError(
                where, f"has no {part} scene among the {len(scenes)} given", "choose another part"
            )
        return chosen


def hash_id(seed: int, id: str) -> int:
    """Return an integer of 0..2^64-1, the same everywhere: the first 8 bytes of SHA-256 of `<seed>:<id>`."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{id}".encode()).digest()[:8])


def make_split(dataset: str, ids: Iterable[str], train: int, seed: int) -> Split:
    """Split `ids` so that exactly `train` of them are for training, those of the smallest hashes.

    Raises DataError if that leaves nothing for one of the parts.
    """
    ids = set(ids)
    check_number("--seed", seed, 0)
    if not 0 < train < len(ids):
        fact = f"{train} of {plural(len(ids), 'scene')} leave nothing for one of the parts"
        raise DataError("--train", fact, f"give 1 to {len(ids) - 1}")
    return _split(dataset, seed, sorted(hash_id(seed, id) for id in ids)[train], ids)


def _split(dataset: str, seed: int, threshold: int, ids: set[str]) -> Split:
    train = {id for id in ids if hash_id(seed, id) < threshold}
    return Split(dataset, seed, threshold, tuple(sorted(train)), tuple(sorted(ids - train)))


def write_split(path: Path, split: Split, overwrite: bool = False) -> None:
    """Write a split file (JSON)."""
    empty = {"seed": None, "threshold": None, "source": None, "validation": ()}
    table = {key: value for key, value in asdict(split).items() if key not in empty or value != empty[key]}
    write_text(path, json.dumps({"format": FORMAT, **table}, indent=1) + "\n", overwrite)


def read_split(path: Path, dataset: str) -> Split:
    """Read a split file of a data set, by its name; DataError where it is none or contradicts itself."""
    remedy = "make it again with dfcnet split-data"
    try:
        table = json.loads(read_bytes(Path(path)))
        if "task" in table:
            spelling = f'write "dataset": "{dataset}" in place of "task": "{table["task"]}"'
            raise DataError(path, "is a split file of version 1.0", spelling)
        if table["format"] != FORMAT:
            raise DataError(path, f"is a split file of format {table['format']!r}, not {FORMAT}", remedy)
        by_lists = "source" in table
        split = Split(
            str(table["dataset"]),
            None if by_lists else int(table["seed"]),
            None if by_lists else int(table["threshold"]),
            *(tuple(map(str, table[part])) for part in PARTS),
            validation=tuple(map(str, table.get("validation", ()))),
            source=str(table["source"]) if by_lists else None,
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(path, f"is not a split file ({error!r})", remedy) from error
    if split.dataset != dataset:
        raise DataError(path, f"splits scenes of {split.dataset}", f"give a split of {dataset}")
    listed = [*split.train, *split.validation, *split.test]
    if twice := sorted(id for id, count in Counter(listed).items() if count > 1):
        raise DataError(path, f"has scene {twice[0]} twice", remedy)
    if decomposed := [id for id in listed if id != composed(id)]:
        fact = f"has scene {decomposed[0]} with accents apart from their letters (Unicode's form NFD)"
        raise DataError(path, fact, remedy)
    if split.threshold is not None:
        by_hash = split.extended([])
        entries = [(id, part) for part in ALL_PARTS for id in getattr(split, part)]
        if wrong := [id for id, part in entries if id not in getattr(by_hash, part)]:
            raise DataError(path, f"has scene {wrong[0]} in the part where its hash does not put it", remedy)
    return split


def named_split(name: str, dataset: str) -> Split:
    """Return a published split of a data set by its name in datasets/splits; DataError for another name."""
    path = NAMED / f"{name}.json"
    if path not in NAMED.glob("*.json"):
        known = ", ".join(sorted(path.stem for path in NAMED.glob("*.json")))
        raise DataError("--named", f"{name} is not a published split", f"give one of {known}")
    return read_split(path, dataset)


def hold_out(scenes: Sequence[T], every: int, part: str, listed: Iterable[str] | None = None) -> list[T]:
    """Return the train or test part: of the ids sorted as text, every `every`-th goes to test.

    `listed` are the ids that are counted, where that is more than those of `scenes`. Raises DataError if
    the part is empty.
    """
    if every < 2:
        raise DataError("--hold-out", f"is {every}", "give 2 or more: every K-th scene is held out")
    if part not in PARTS:
        raise DataError("--part", f"is {part!r}", f"give one of {', '.join(PARTS)}")
    test = held_out({scene.id for scene in scenes}.union(listed or ()), every)
    ordered = sorted(scenes, key=lambda scene: scene.id)
    chosen = [scene for scene in ordered if (scene.id in test) == (part == "test")]
    if not chosen:
        fact = f"{every} leaves no {part} scene of {len(scenes)}"
        raise DataError("--hold-out", fact, "give a smaller number or more scenes")
    return chosen


def held_out(ids: Iterable[str], every: int) -> set[str]:
    """Return every `every`-th of `ids`, sorted as text: those that test."""
    return set(sorted(ids)[every - 1 :: every])
