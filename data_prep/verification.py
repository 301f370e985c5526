"""Checks every scene of a data set: pairs, whole files, sizes, colours, duplicates; the classes' shares."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.datasets import Dataset
from common.errors import DataError
from common.numbers import plural
from data_prep.manifest import class_shares
from data_prep.masks import check_labels
from data_prep.read_options import ReadOptions
from data_prep.scene_pixels import open_scene, windows
from data_prep.scenes import Scene, scan_scenes
from data_prep.workers import check_workers, ordered

WINDOW = 4096  # pixels a side that are read at once


@dataclass(frozen=True)
class SoundScene:
    """A sound scene: its size, pixels per label, and the SHA-256 of its image's pixels."""

    scene: Scene
    height: int
    width: int
    counts: np.ndarray
    content: str
    note: str | None = None  # what the image says and is not applied

    @property
    def labelled(self) -> bool:
        """Whether any pixel has a class."""
        return bool(self.counts[:-1].any())


@dataclass(frozen=True)
class Problem:
    """Why a scene cannot be used, and what to do about it."""

    id: str
    file: str
    fact: str
    remedy: str


@dataclass(frozen=True)
class Verification:
    """What a check found; `warnings` are lines on files and ids that are not scenes."""

    dataset: Dataset
    checked: list[SoundScene]
    problems: list[Problem]
    warnings: Sequence[str] = ()

    @property
    def usable(self) -> bool:
        """Whether the data set can be used as it is."""
        return self.labelled and not self.problems

    @property
    def labelled(self) -> bool:
        """Whether any pixel has a class."""
        return any(sound.labelled for sound in self.checked)

    @property
    def unlabelled(self) -> list[str]:
        """The ids of sound scenes in which no pixel has a class."""
        return [sound.scene.id for sound in self.checked if not sound.labelled]

    @property
    def pixels(self) -> dict[str, int]:
        """Pixels of each class and of `ignored` in all sound scenes."""
        names = self.dataset.label_names
        counts = sum((sound.counts for sound in self.checked), np.zeros(len(names), np.int64))
        return dict(zip(names, map(int, counts), strict=True))

    @property
    def sizes(self) -> dict[str, int]:
        """How many sound scenes have which size, commonest first."""
        return dict(Counter(f"{sound.width}x{sound.height}" for sound in self.checked).most_common())

    @property
    def bad_ids(self) -> list[tuple[str, str]]:
        """Ids to leave out, each with its first problem."""
        reasons: dict[str, str] = {}
        for problem in self.problems:
            reasons.setdefault(problem.id, f"{problem.file}: {problem.fact}")
        return sorted(reasons.items())

    def as_json(self) -> dict:
        """Return the report as an object for JSON."""
        return {
            "format": 1,
            "dataset": self.dataset.name,
            "usable": self.usable,
            "sound_scenes": len(self.checked),
            "sizes": self.sizes,
            "pixels": self.pixels,
            "shares": class_shares(self.pixels),
            "problems": [vars(problem) for problem in self.problems],
            "unlabelled": self.unlabelled,
            "warnings": list(self.warnings),
            "scenes": [
                {
                    "id": sound.scene.id,
                    "image": str(sound.scene.image),
                    "mask": str(sound.scene.mask),
                    "width": sound.width,
                    "height": sound.height,
                    "content_sha256": sound.content,
                    "note": sound.note,
                }
                for sound in self.checked
            ],
        }

    def as_text(self) -> str:
        """Return the report as a table to read."""
        pixels, shares = self.pixels, class_shares(self.pixels)
        width = max(12, *map(len, pixels))
        lines = [f"{'class':{width}} {'pixels':>15} {'share':>8}"]
        lines += [f"{name:{width}} {pixels[name]:15,} {100 * shares[name]:7.3f}%" for name in pixels]
        lines += [f"{size:>12}  {plural(count, 'scene')}" for size, count in self.sizes.items()]
        lines += [f"{problem.file}: {problem.fact}; {problem.remedy}" for problem in self.problems]
        lines += self.warnings
        for note in dict.fromkeys(scene.note for scene in self.checked if scene.note):
            images = [scene.scene.image for scene in self.checked if scene.note == note]
            lines.append(f"{plural(len(images), 'image')}, as {images[0]}: {note}")
        if unlabelled := self.unlabelled:
            lines.append(f"{plural(len(unlabelled), 'scene')} without a labelled pixel, as {unlabelled[0]}")
        count = len(self.problems)
        facts = [plural(count, "problem")] if count or not self.checked else []
        facts += [] if self.labelled or not self.checked else ["no pixel has a class"]
        verdict = "usable" if self.usable else f"not usable as it is: {', '.join(facts)}"
        lines.append(f"{plural(len(self.checked), 'sound scene')} of {self.dataset.title}; {verdict}")
        return "\n".join(lines)


def verify(
    folders: Sequence[Path],
    dataset: Dataset,
    read_options: ReadOptions,
    *,
    workers: int = 1,
    leave_out: Collection[str] = (),
    warnings: Sequence[str] = (),
) -> Verification:
    """Check every scene of a data set in `folders`; problems of scenes and `warnings` go into the report.

    Raises DataError only where there is nothing to check: a folder that is missing or holds no scene.
    """
    check_workers(workers)
    scenes, problems, checked = [], [], []
    for id, result in scan_scenes(folders, dataset, leave_out):
        if isinstance(result, DataError):
            problems.append(_problem(id, result))
        else:
            scenes.append(result)
    make = partial(_check, dataset=dataset, read_options=read_options)
    results = ordered(make, scenes, workers)
    for result, _ in tqdm(results, total=len(scenes), unit="scene", desc="verify", disable=None):
        (checked if isinstance(result, SoundScene) else problems).append(result)
    sound, duplicates = _part_duplicates(checked)
    return Verification(
        dataset, sound, sorted(problems + duplicates, key=lambda problem: problem.id), warnings
    )


def _check(
    scene: Scene, dataset: Dataset, read_options: ReadOptions
) -> Iterator[tuple[SoundScene | Problem, bytes]]:
    """Read one scene whole; yield what was found, as a result without bytes."""
    try:
        with open_scene(scene, dataset, read_options) as pixels:
            height, width = pixels.shape
            content = hashlib.sha256(f"{height} {width} ".encode())
            counts = np.zeros(len(dataset.label_names), np.int64)
            for window in windows(pixels.shape, WINDOW):
                content.update(np.ascontiguousarray(pixels.read_image(*window)))
                counts += check_labels(pixels.read_labels(*window), dataset, scene.mask)
            note = pixels.image.note or pixels.image.source.note
        yield SoundScene(scene, height, width, counts, content.hexdigest(), note), b""
    except DataError as error:
        yield _problem(scene.id, error), b""


def _problem(id: str, error: DataError) -> Problem:
    return Problem(id, error.where, error.fact, error.remedy)


def _part_duplicates(checked: list[SoundScene]) -> tuple[list[SoundScene], list[Problem]]:
    """Set apart the scenes whose image has the pixels of an earlier one: a split could part the two."""
    first: dict[str, SoundScene] = {}
    duplicates = []
    for sound in sorted(checked, key=lambda sound: sound.scene.id):
        original = first.setdefault(sound.content, sound)
        if original is not sound:
            fact = f"shows the same pixels as {original.scene.image}"
            duplicates.append(
                Problem(sound.scene.id, str(sound.scene.image), fact, "leave one of the two out")
            )
    return list(first.values()), duplicates
