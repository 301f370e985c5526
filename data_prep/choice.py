"""Which scenes a database is made of: folders, less a list, and one part of them."""

from collections.abc import Sequence
from pathlib import Path

from data_prep.decoding import file_checksum
from data_prep.leave_out import read_leave_out
from data_prep.scenes import Scene, find_scenes
from data_prep.splits import hold_out as held_out
from data_prep.splits import read_split


def choose_scenes(
    folders: Sequence[Path],
    task: str,
    part: str,
    *,
    hold_out: int | None = None,
    split: Path | None = None,
    leave_out: Path | None = None,
) -> tuple[list[Scene], dict | None]:
    """Return the scenes of `part`, by a split file or every K-th, and a note of it for the manifest.

    Without `split` and `hold_out` all scenes are taken. Raises DataError as the readers do, and for a
    scene of the part that neither the folders nor the list of `leave_out` have.
    """
    left_out = read_leave_out(leave_out)
    scenes = find_scenes(folders, left_out)
    note = {"leave_out": sorted(left_out)} if left_out else {}
    if split is not None:
        table = read_split(split, task)
        table.require(scenes, part, split, left_out)
        scenes = table.pick(scenes, part, split)
        note |= {"part": part, "file": str(split), "sha256": file_checksum(split), "seed": table.seed}
    elif hold_out is not None:
        scenes = held_out(scenes, hold_out, part)
        note |= {"hold_out": hold_out, "part": part}
    return scenes, note or None
