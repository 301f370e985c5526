"""Which scenes a command means: those of folders, less a list, and one part of them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.datasets import Dataset
from common.errors import DataError
from common.files import file_checksum, read_bytes, write_text
from common.numbers import plural
from data_prep.scenes import FilePatterns, Scene, find_scenes, image_ids, is_id, printable, unused_line
from data_prep.splits import HasSceneId, Split, T, held_out, hold_out, read_split


def read_leave_out(path: Path | None, dataset: Dataset) -> frozenset[str]:
    """Return the ids of a list; none for None. Raises DataError if it cannot be read as UTF-8 text."""
    if path is None:
        return frozenset()
    try:
        lines = map(str.strip, read_bytes(Path(path)).decode("utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 text ({error})", "write one scene id a line") from error
    names = FilePatterns.of(dataset)
    return frozenset(names.listed_id(line) for line in lines if line and not line.startswith("#"))


def unknown_line(path: Path | None, left_out: Collection[str], known: Collection[str]) -> str | None:
    """Return a line that counts the ids of a list that are none of those `known`, or None."""
    unknown = sorted(set(left_out).difference(known))
    if not unknown:
        return None
    ids = plural(len(unknown), "id")
    return f"{path}: {ids} of no scene, as {printable(unknown[0])}: nothing is left out for it"


def write_leave_out(path: Path, reasons: Iterable[tuple[str, str]], overwrite: bool = False) -> None:
    """Write a list of (id, reason); the reason stands above its id as a comment.

    What cannot be an id (see scenes.py) is left as a comment: such a file must be renamed.
    """
    lines = [
        f"# {printable(reason)}\n{id if is_id(id) else '# ' + printable(id)}\n" for id, reason in reasons
    ]
    write_text(
        path,
        "# Scenes to leave out: the commands take this list by --leave-out.\n" + "".join(lines),
        overwrite,
    )


@dataclass(frozen=True)
class Subset:
    """One part of a data set's scenes, by a split file or every K-th id; without either, all of them.

    Ids in the list `leave_out` are in no part, but they are counted where every K-th is taken: so the
    parts are the same with the list and without it, and what trained never tests.
    """

    dataset: Dataset
    name: str = "train"
    hold_out: int | None = None
    split: Path | None = None
    leave_out: Path | None = None

    @property
    def option(self) -> str | None:
        """The option that splits the scenes, as it was given; None where all are taken."""
        if self.split is not None:
            return f"--split {self.split}"
        return None if self.hold_out is None else f"--hold-out {self.hold_out}"

    @cached_property
    def left_out(self) -> frozenset[str]:
        """Return the ids of the list; DataError where it cannot be read."""
        return read_leave_out(self.leave_out, self.dataset)

    @cached_property
    def table(self) -> Split | None:
        """Return the split, if there is one; DataError where its file is of another data set."""
        return None if self.split is None else read_split(self.split, self.dataset.name)

    def select(self, scenes: Iterable[T], listed: Iterable[str]) -> list[T]:
        """Return the scenes of this part; `listed` are all ids that there are, left out or not.

        Raises DataError for a scene that the split does not know, and for a part without scenes.
        """
        scenes = [scene for scene in scenes if scene.id not in self.left_out]
        if not scenes:
            raise DataError("--leave-out", "leaves no scene", "leave fewer ids out")
        if self.table is not None:
            return self.table.select(scenes, self.name, self.split)
        return scenes if self.hold_out is None else hold_out(scenes, self.hold_out, self.name, listed)

    def excluded(self, listed: Collection[str]) -> set[str]:
        """Return the ids that are left out or in the other part; `listed` as in `select`.

        An id that neither the split nor `listed` knows is not among them.
        """
        excluded = set()
        if self.table is not None:
            excluded = set(self.table.ids.difference(getattr(self.table, self.name)))
        elif self.hold_out is not None:
            test = held_out(listed, self.hold_out)
            excluded = set(listed) - test if self.name == "test" else test
        return excluded | self.left_out

    def missing(self, scenes: Iterable[HasSceneId]) -> DataError | None:
        """Return an error where the split has a scene of this part that is neither here nor left out."""
        expected = set() if self.table is None else {*getattr(self.table, self.name)}
        missing = sorted(expected - self.left_out - {scene.id for scene in scenes})
        if not missing:
            return None
        fact = f"has {plural(len(missing), f'{self.name} scene')} that the folders lack, as {missing[0]}"
        return DataError(self.split, fact, "give all folders, or name them in --leave-out")

    def unknown(self, listed: Iterable[str]) -> str | None:
        """Return a line on ids to leave out that are neither `listed` nor in the split, or None."""
        split = () if self.table is None else self.table.ids
        return unknown_line(self.leave_out, self.left_out, {*listed, *split})

    def warnings(self, folders: Sequence[Path]) -> list[str]:
        """Return lines on what is left out without having been asked for, and the other way round."""
        names = FilePatterns.of(self.dataset)
        listed = {id for folder in folders for ids in names.listing(Path(folder)) for id in ids}
        return [line for line in (unused_line(folders, self.dataset), self.unknown(listed)) if line]

    def manifest_entry(self, warnings: Sequence[str] = ()) -> dict | None:
        """Return what a manifest says of it, None for all scenes and no `warnings`."""
        entry = {"leave_out": sorted(self.left_out)} if self.left_out else {}
        if warnings:
            entry["warnings"] = list(warnings)
        if self.table is not None:
            checksum = file_checksum(self.split)
            entry |= {"part": self.name, "file": str(self.split), "sha256": checksum, "seed": self.table.seed}
        elif self.hold_out is not None:
            entry |= {"hold_out": self.hold_out, "part": self.name}
        return entry or None


def select_scenes(folders: Sequence[Path], subset: Subset) -> list[Scene]:
    """Return the scenes of `subset` in `folders`.

    Raises DataError as the readers do, and for a scene of the part that neither the folders nor the list
    of those left out have.
    """
    if subset.name != "train" and subset.split is None and subset.hold_out is None:
        fact = f"is {subset.name}, and nothing says which scenes that is"
        raise DataError("--part", fact, "give --split or --hold-out")
    scenes = find_scenes(folders, subset.dataset, subset.left_out)
    if error := subset.missing(scenes):
        raise error
    return subset.select(scenes, image_ids(folders, subset.dataset))
