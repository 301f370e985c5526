"""Checks every scene of a data set: pairs, whole files, sizes, colours, duplicates; classes and bands."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from common.datasets import Dataset
from common.errors import DataError
from common.numbers import aligned, plural
from data_prep.manifest import class_shares
from data_prep.masks import check_labels
from data_prep.read_options import ReadOptions, Stretch
from data_prep.scene_pixels import open_scene, windows
from data_prep.scenes import Scene, scan_scenes
from data_prep.workers import check_workers, ordered, refuse_crash

WINDOW = 4096  # pixels a side that are read at once
SATURATED = 0.95  # share of a band's pixels in all scenes that a stretch may not clip to 0 and 255

SHOWN = 3  # problems of one cause that have a line each; of more, the first is named


@dataclass(frozen=True)
class SoundScene:
    """A sound scene: its size, pixels per label, and the SHA-256 of its image's pixels.

    `levels`, (bands, 256), counts the pixels that have each level of each band as a net reads it, where
    there are data; `stretch` made them of images of more than 8 bits.
    """

    scene: Scene
    height: int
    width: int
    counts: np.ndarray
    content: str
    levels: np.ndarray
    stretch: Stretch | None = None
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
class Band:
    """One band in all sound scenes: its levels, 0-255, and how many are 0 and 255 after a stretch."""

    name: str
    mean: float
    standard_deviation: float
    share_0: float
    share_255: float
    saturated: bool  # by a stretch

    @classmethod
    def of(cls, name: str, levels: np.ndarray, stretched: np.ndarray) -> "Band":
        """Return a band by the pixels of each level, (256,), in all scenes and in those with a stretch."""
        values, total = np.arange(256), max(levels.sum(), 1)
        mean = float(levels @ values / total)
        deviation = float(levels @ (values - mean) ** 2 / total) ** 0.5
        clipped = stretched[0] + stretched[255]
        return cls(
            name, mean, deviation, *(levels[[0, 255]] / total).tolist(), bool(clipped > SATURATED * total)
        )


@dataclass(frozen=True)
class Verification:
    """What a check found; `warnings` are lines on files and ids that are not scenes."""

    dataset: Dataset
    band_names: tuple[str, ...]
    checked: list[SoundScene]
    problems: list[Problem]
    warnings: Sequence[str] = ()

    @property
    def usable(self) -> bool:
        """Whether the data set can be used as it is."""
        return self.labelled and not self.problems and not self.saturated

    @cached_property
    def bands(self) -> list[Band]:
        """The bands by the pixels of all sound scenes; none where no scene is sound."""
        if not self.checked:
            return []
        levels = sum(sound.levels for sound in self.checked)
        stretched = sum(sound.levels * (sound.stretch is not None) for sound in self.checked)
        return list(map(Band.of, self.band_names, levels, stretched))

    @property
    def saturated(self) -> list[Band]:
        """The bands of which a stretch leaves nearly nothing but 0 and 255."""
        return [band for band in self.bands if band.saturated]

    @property
    def stretch(self) -> tuple[float, float] | None:
        """The values that hold each scene's own stretch, None where no scene has one of its own."""
        spans = [sound.stretch for sound in self.checked if sound.stretch is not None]
        if self.dataset.stretch is not None or not spans:
            return None
        return min(low for span in spans for low in span.low), max(
            high for span in spans for high in span.high
        )

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
            "bands": [vars(band) for band in self.bands],
            "stretch": self.stretch,
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
        lines += self._band_lines()
        lines += self._problem_lines()
        lines += self.warnings
        for note in dict.fromkeys(scene.note for scene in self.checked if scene.note):
            images = [scene.scene.image for scene in self.checked if scene.note == note]
            lines.append(f"{plural(len(images), 'image')}, as {images[0]}: {note}")
        if unlabelled := self.unlabelled:
            lines.append(f"{plural(len(unlabelled), 'scene')} without a labelled pixel, as {unlabelled[0]}")
        count = len(self.problems)
        facts = [plural(count, "problem")] if count or not self.checked else []
        facts += [f"band {band.name} is saturated" for band in self.saturated]
        facts += [] if self.labelled or not self.checked else ["no pixel has a class"]
        verdict = "usable" if self.usable else f"not usable as it is: {', '.join(facts)}"
        lines.append(f"{plural(len(self.checked), 'sound scene')} of {self.dataset.title}; {verdict}")
        return "\n".join(lines)

    def _problem_lines(self) -> list[str]:
        """Return a line for each problem, one alone for many of the same cause."""
        causes: dict[tuple[str, str], list[Problem]] = {}
        for problem in self.problems:
            cause = problem.fact.replace(problem.id, "*"), problem.remedy.replace(problem.id, "*")
            causes.setdefault(cause, []).append(problem)
        lines = []
        for alike in causes.values():
            many = len(alike) > SHOWN
            for problem in alike[:1] if many else alike:
                where = f"{plural(len(alike), 'file')}, as {problem.file}" if many else problem.file
                lines.append(f"{where}: {problem.fact}; {problem.remedy}")
        return lines

    def _band_lines(self) -> list[str]:
        """Return the bands as a table, and what can be pasted from it into an experiment or a data set."""
        if not self.bands:
            return []
        rows = [["band", "mean", "std. dev.", "at 0", "at 255"]]
        for band in self.bands:
            shares = (f"{100 * share:.2f} %" for share in (band.share_0, band.share_255))
            rows.append([band.name, f"{band.mean:.2f}", f"{band.standard_deviation:.2f}", *shares])
        means = ", ".join(f"{band.mean:.2f}" for band in self.bands)
        lines = [*aligned(rows), f"mean = [{means}]  # {', '.join(self.band_names)}"]
        if deviation := sum(band.standard_deviation for band in self.bands) / len(self.bands):
            lines.append(f"scale = {1 / deviation:.2g}  # one over the standard deviation, of all bands")
        if self.stretch is not None:
            low, high = self.stretch
            lines.append(f"stretch = [{low:g}, {high:g}]  # holds the stretch of every scene, by percentiles")
        for band in self.saturated:
            fact = f"0 or 255 in {100 * (band.share_0 + band.share_255):.1f} % of its pixels"
            lines.append(f"band {band.name}: {fact}; give the data set a stretch that holds its values")
        return lines


def verify(
    folders: Sequence[Path],
    dataset: Dataset,
    read_options: ReadOptions,
    *,
    workers: int | None = None,
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
    results = ordered(make, scenes, workers, crashed=_crashed)
    for result, _ in tqdm(results, total=len(scenes), unit="scene", desc="verify", disable=None):
        (checked if isinstance(result, SoundScene) else problems).append(result)
    sound, duplicates = _part_duplicates(checked)
    return Verification(
        dataset,
        read_options.bands,
        sound,
        sorted(problems + duplicates, key=lambda problem: problem.id),
        warnings,
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
            levels = np.zeros((len(read_options.bands), 256), np.int64)
            for window in windows(pixels.shape, WINDOW):
                image = pixels.read_image(*window)
                content.update(image)
                levels += _levels(image, pixels.image.valid(*window))
                counts += check_labels(pixels.read_labels(*window), dataset, scene.mask)
            note = pixels.image.note or pixels.image.source.note
            stretch = pixels.image.stretch
        yield SoundScene(scene, height, width, counts, content.hexdigest(), levels, stretch, note), b""
    except DataError as error:
        yield _problem(scene.id, error), b""


def _levels(image: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Return how many valid (h, w) pixels of each band of uint8 (h, w, C) have each level, (C, 256)."""
    mask = None if valid is None else valid.astype(np.uint8)
    counts = [cv2.calcHist([image], [band], mask, [256], [0, 256]) for band in range(image.shape[2])]
    return np.stack(counts)[..., 0].astype(np.int64)  # float32 is exact up to 2^24, a window's pixels


def _crashed(scene: Scene, by: str) -> tuple[Problem, bytes]:
    """Return the problem of a scene at which a signal ended the process that read it."""
    return _problem(scene.id, refuse_crash(f"{scene.image} or {scene.mask.name}", by)), b""


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
