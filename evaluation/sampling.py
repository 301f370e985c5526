"""A stratified random sample of a map's pixels: drawn with known probabilities, and its design on record.

The strata are the classes of the maps, over all maps together; in each of them every pixel is as likely as
any other. What the maps do not class is not sampled. Maps are read strip by strip, whatever their size.
"""

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np

from common.datasets import IGNORE, Dataset
from common.errors import DataError
from common.files import file_checksum
from common.numbers import check_number
from common.settings import StrictModel
from data_prep.geotiff import Georeference
from data_prep.label_files import open_truth
from evaluation.area_estimation import MIN_POINTS, allocate, sample_size
from inference.pixel_area import HECTARE, PixelAreas, square_metres_by_label
from inference.polygon_files import common_crs
from inference.prediction_manifest import open_map_of
from inference.scene_files import ScenePath, find_true_masks

TALLEST, MAX_PIXELS = 512, 1 << 22  # of a strip of rows: a map's tiles are 512 high
SMALLEST_ERROR = 1e-6
EQUAL = 0.01  # pixels whose areas differ by more are not units of one size


@dataclass(frozen=True)
class Point:
    """A pixel of the sample: its map, what the map says (class number and name), and where it is.

    `x` and `y` are its centre in the map's CRS; in a picture without one, as GIS show it: pixels to the right
    and, negative, downwards. `row` and `column` count from 0. `reference` is what an interpreter says.
    """

    id: int
    map: str
    number: int
    name: str
    x: float
    y: float
    row: int
    column: int
    reference: str = ""


class Stratum(StrictModel):
    """A class of the maps: how much of it there is, and how many points were drawn from it."""

    number: int
    name: str
    pixels: int
    hectares: float
    points: int


class SampledMap(StrictModel):
    """A map that was sampled."""

    id: str
    file: str
    sha256: str
    height: int
    width: int


class SampleDesign(StrictModel):
    """How a sample was drawn, and from what; `crs` is WKT, `drawn` the checksum of the points."""

    design: Literal["stratified random sample of pixels"] = "stratified random sample of pixels"
    seed: int
    dataset: Dataset
    crs: str | None
    strata: tuple[Stratum, ...]
    maps: tuple[SampledMap, ...]
    drawn: str


@dataclass(frozen=True)
class _Strip:
    """Some rows of a map, and how much of each class they hold, (C,)."""

    map: int
    rows: slice
    pixels: np.ndarray
    hectares: np.ndarray


@dataclass(frozen=True)
class Survey:
    """Maps that are sampled, counted strip by strip; `crs` is WKT, `georeferences` are None for pictures."""

    dataset: Dataset
    maps: Sequence[ScenePath]
    crs: str | None
    shapes: Sequence[tuple[int, int]]
    georeferences: Sequence[Georeference | None]
    strips: Sequence[_Strip]

    @property
    def pixels(self) -> np.ndarray:
        """The pixels of each class, (C,)."""
        return sum(strip.pixels for strip in self.strips)

    @property
    def hectares(self) -> np.ndarray:
        """The area of each class in hectares, (C,)."""
        return sum(strip.hectares for strip in self.strips)


def survey(
    maps: Mapping[str, Path],
    dataset: Dataset,
    pixel_size: float | None = None,
    progress: Callable[[Iterable[ScenePath]], Iterable[ScenePath]] = iter,
) -> Survey:
    """Count the classes of `maps`, files by id.

    `pixel_size` is the side in metres of the pixels of maps without a CRS.

    Raises DataError for maps that cannot be read, are of other classes than `dataset` or of several CRSs, for
    pixels whose areas are not known or differ by more than 1 %, and where no pixel has a class.
    """
    scenes = [ScenePath(id, maps[id]) for id in sorted(maps)]
    found = Survey(dataset, scenes, common_crs(maps), [], [], [])
    least, most = math.inf, 0.0
    for number, scene in enumerate(progress(scenes)):
        with open_map_of(scene.path, scene.id, dataset) as labels:
            areas = PixelAreas.of(scene.path, labels.georeference, labels.shape, pixel_size)
            found.shapes.append(labels.shape)
            found.georeferences.append(labels.georeference)
            for rows in _rows(labels.shape):
                strip = _counted(number, rows, labels.read(rows, slice(0, labels.shape[1])), areas, dataset)
                found.strips.append(strip)
                if strip.pixels.any():
                    means = strip.hectares[strip.pixels > 0] / strip.pixels[strip.pixels > 0]
                    least, most = min(least, means.min()), max(most, means.max())
    if not most:
        raise DataError(
            scenes[0].path, f"has no pixel of a class of {dataset.name}", "give a map with classes"
        )
    if most > (1 + EQUAL) * least:
        fact = f"have areas of {HECTARE * least:g} to {HECTARE * most:g} square metres"
        remedy = "reproject the maps to one grid of an equal-area CRS first"
        raise DataError("pixels of the maps", fact, remedy)
    return found


def _rows(shape: tuple[int, int]) -> Iterator[slice]:
    """Yield rows that cover a map once, few enough at a time to be held with their areas."""
    step = max(min(TALLEST, MAX_PIXELS // shape[1]), 1)
    return (slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step))


def _counted(map: int, rows: slice, labels: np.ndarray, areas: PixelAreas, dataset: Dataset) -> _Strip:
    classes = len(dataset.classes)
    pixels = np.bincount(labels.ravel(), minlength=classes)[:classes]
    return _Strip(map, rows, pixels, square_metres_by_label(labels, areas.rows(rows))[:classes] / HECTARE)


@dataclass(frozen=True)
class SampleSize:
    """How many points a user wants: `per_class`, or as many as a `standard_error` of overall accuracy needs.

    `expected` are user's accuracies, from 0 to 1: one for all classes, and others by name, as `urban=0.7`.
    Rare classes get `least` points.
    """

    per_class: int | None = None
    standard_error: float | None = None
    expected: Sequence[str] | None = None
    least: int = 50

    def check(self, dataset: Dataset) -> None:
        """Raise DataError for numbers that make no sense, before maps are read."""
        if self.per_class is not None:
            check_number("--per-class", self.per_class, MIN_POINTS)
            return
        check_number("--standard-error", self.standard_error, SMALLEST_ERROR, 0.5)
        check_number("--at-least", self.least, MIN_POINTS)
        self._users(dataset)

    def points(self, surveyed: Survey) -> list[int]:
        """Return how many points each class gets."""
        pixels = surveyed.pixels.tolist()
        if self.per_class is not None:
            return [min(self.per_class, count) for count in pixels]
        users = self._users(surveyed.dataset)
        total = sample_size(surveyed.hectares, users, self.standard_error, sum(pixels))
        return allocate(total, pixels, self.least)

    def _users(self, dataset: Dataset) -> list[float]:
        users: dict[str, float] = {}
        for text in self.expected or ():
            name, _, value = text.rpartition("=")
            if name and name not in dataset.class_names:
                fact = f"names {name}, which is not a class of {dataset.name}"
                raise DataError("--expected", fact, f"name {', '.join(dataset.class_names)}")
            try:
                users[name] = float(value)
            except ValueError:
                raise DataError("--expected", f"has {value!r}", "give a number from 0 to 1") from None
            check_number("--expected", users[name], 0, 1)
        lacking = [name for name in dataset.class_names if name not in users and "" not in users]
        if lacking:
            fact = f"has no user's accuracy of {lacking[0]}"
            raise DataError("--expected", fact, "give one for all classes, as 0.8, or one for each")
        return [users.get(name, users.get("")) for name in dataset.class_names]


def draw(surveyed: Survey, points: Sequence[int], seed: int) -> list[Point]:
    """Draw so many `points` of each class, in an order that says nothing about it; all where there are fewer.

    The same maps, numbers and seed give the same points.
    """
    chosen: dict[int, list[tuple[int, int]]] = {}
    for number, (total, wanted) in enumerate(zip(surveyed.pixels.tolist(), points, strict=True)):
        ranks = sorted(random.Random(f"{seed} {number}").sample(range(total), min(wanted, total)))
        ends = np.cumsum([strip.pixels[number] for strip in surveyed.strips])
        for rank in ranks:
            at = int(np.searchsorted(ends, rank, side="right"))
            first = int(ends[at] - surveyed.strips[at].pixels[number])
            chosen.setdefault(at, []).append((number, rank - first))
    places = sorted(_places(surveyed, chosen))
    random.Random(f"{seed} order").shuffle(places)
    return [_point(surveyed, id, *place) for id, place in enumerate(places, 1)]


def _places(
    surveyed: Survey, chosen: dict[int, list[tuple[int, int]]]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (map, class, row, column) of the pixels that were chosen by their ranks in strips."""
    for map, strips in groupby(sorted(chosen), lambda at: surveyed.strips[at].map):
        scene = surveyed.maps[map]
        with open_map_of(scene.path, scene.id, surveyed.dataset) as labels:
            for at in strips:
                rows = surveyed.strips[at].rows
                values = labels.read(rows, slice(0, labels.shape[1]))
                for number, row, column in _found(values, chosen[at]):
                    yield map, number, rows.start + row, column


def _found(values: np.ndarray, chosen: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (class, row, column) of pixels in `values` (h, W) by class and rank within the class."""
    for number, ranks in groupby(chosen, lambda entry: entry[0]):
        places = np.flatnonzero(values == number)
        for _, rank in ranks:
            yield number, *divmod(int(places[rank]), values.shape[1])


def _point(surveyed: Survey, id: int, map: int, number: int, row: int, column: int) -> Point:
    georeference = surveyed.georeferences[map]
    grid = georeference and georeference.grid
    x, y = grid[1] @ (column + 0.5, row + 0.5) if grid else (column + 0.5, -(row + 0.5))
    return Point(id, surveyed.maps[map].id, number, surveyed.dataset.class_names[number], x, y, row, column)


def interpreted(points: Sequence[Point], truth: Path, dataset: Dataset) -> list[Point]:
    """Return points with what true masks of the same ids say there; those without a class have no reference.

    Raises DataError for a map without a mask, and for a mask that is too small for a point.
    """
    masks, found = find_true_masks(truth, dataset), {}
    for map, places in groupby(sorted(points, key=lambda point: (point.map, point.row)), lambda p: p.map):
        if map not in masks:
            raise DataError(truth, f"lacks the true mask of {map}", "add it")
        with open_truth(masks[map], dataset) as labels:
            for point in places:
                if not (point.row < labels.shape[0] and point.column < labels.shape[1]):
                    fact = f"is {labels.shape[1]}x{labels.shape[0]}, and point {point.id} lies outside of it"
                    raise DataError(masks[map], fact, "give the truth of the maps that are sampled")
                window = (slice(start, start + 1) for start in (point.row, point.column))
                label = int(labels.read(*window)[0, 0])
                found[point.id] = "" if label == IGNORE else dataset.class_names[label]
    return [replace(point, reference=found[point.id]) for point in points]


def design_of(surveyed: Survey, points: Sequence[Point], seed: int) -> SampleDesign:
    """Return the record of a sample that `draw` gave."""
    drawn = np.bincount([point.number for point in points], minlength=len(surveyed.dataset.classes))
    strata = zip(surveyed.dataset.class_names, surveyed.pixels, surveyed.hectares, drawn, strict=True)
    return SampleDesign(
        seed=seed,
        dataset=surveyed.dataset,
        crs=surveyed.crs,
        strata=tuple(
            Stratum(number=number, name=name, pixels=int(pixels), hectares=float(hectares), points=int(count))
            for number, (name, pixels, hectares, count) in enumerate(strata)
        ),
        maps=tuple(
            SampledMap(
                id=scene.id,
                file=scene.path.name,
                sha256=file_checksum(scene.path),
                height=shape[0],
                width=shape[1],
            )
            for scene, shape in zip(surveyed.maps, surveyed.shapes, strict=True)
        ),
        drawn=drawn_checksum(points),
    )


def drawn_checksum(points: Iterable[Point]) -> str:
    """Return the SHA-256 of what was drawn: ids, maps, classes and pixels, not what an interpreter adds."""
    lines = sorted(f"{p.id} {p.map!r} {p.number} {p.row} {p.column}\n" for p in points)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
