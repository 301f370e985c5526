"""A run of predict.py: which scenes are to do, shared over ranks, and what came of it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import rasterio
from rasterio.errors import RasterioError

from common.errors import DFCNetError, OutputError
from data_prep.geotiff import SETTINGS
from data_prep.reading import Reading
from data_prep.scene_image import TIFF, driver_of
from inference.finished import is_finished
from inference.folders import ScenePath
from inference.mapping import Mapper
from inference.ranks import Ranks, share
from inference.scene_maps import Wanted


@dataclass(frozen=True)
class Plan:
    """The scenes to predict, with their sizes in pixels (0: not known), and how many are finished."""

    scenes: Sequence[ScenePath]
    pixels: Sequence[int]
    finished: int


@dataclass
class Done:
    """What was done for a task: scenes and pixels predicted, and errors, each in one line, of the others."""

    scenes: int = 0
    pixels: int = 0
    finished: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    task: str = ""

    def line(self, out: Path) -> str:
        """Say in a line what was done."""
        maps = "map" if self.scenes == 1 else "maps"
        text = (
            f"{self.scenes} {self.task} {maps} in {out}, {self.seconds / max(self.scenes, 1):.2f} s a scene"
        )
        if self.finished:
            text += f"; {self.finished} finished before"
        if self.errors:
            text += f"; {len(self.errors)} failed"
        return text


def make_plan(
    scenes: Sequence[ScenePath],
    out: Path,
    wanted: Wanted,
    reading: Reading,
    settings: Mapping[str, object],
    overwrite: bool = False,
) -> Plan:
    """Tell what is to do: scenes whose maps are there, made with these settings, are finished.

    Raises OutputError, before time is spent, where `out` is a folder of scenes or a map is there that was
    made in another way (unless `overwrite`); DataError where a scene lacks a band whose number is chosen.
    """
    for scene in scenes:
        if scene.path.resolve().parent == out.resolve():
            fact = f"is the folder of {scene.path.name}"
            raise OutputError(out, fact, "choose another --out: a map could replace a true mask")
    todo = []
    for scene in scenes:
        names = wanted.names(scene.id, driver_of(scene.path) == TIFF)
        if not is_finished(out, scene.id, scene.path, names, settings, overwrite):
            todo.append(scene)
    return Plan(todo, [_pixels(scene.path, reading) for scene in todo], len(scenes) - len(todo))


def _pixels(path: Path, reading: Reading) -> int:
    """Return an image's size from its header; 0 where it has none, which its turn will tell."""
    driver = driver_of(path)
    if driver not in (None, TIFF):
        reading.refuse_numbers_for(path)
    try:
        with (
            rasterio.Env(**SETTINGS),
            warnings.catch_warnings(action="ignore"),
            rasterio.open(path, driver=driver) as header,
        ):
            if driver == TIFF:
                reading.check_numbers(path, header.count)
            return header.width * header.height
    except (RasterioError, ValueError, TypeError):
        return 0


def predict(
    ranks: Ranks,
    plan: Plan,
    mapper: Mapper,
    complain: Callable[[str], None],
    advance: Callable[[int], object] = lambda pixels: None,
) -> Done:
    """Predict this rank's share of the plan; a scene that fails is complained of, the others go on."""
    done, begin = Done(finished=plan.finished, task=mapper.learnt.task), perf_counter()
    for number in share(plan.pixels, ranks.count)[ranks.number]:
        try:
            mapper(plan.scenes[number], advance)
        except DFCNetError as error:
            done.errors.append(str(error))
            complain(str(error))
        else:
            done.scenes += 1
            done.pixels += plan.pixels[number]
    done.seconds = perf_counter() - begin
    return done


def in_all(ranks: Ranks, work: Callable[[], Done], complain: Callable[[str], None]) -> Done:
    """Return what all ranks did, after the last of them; the time is that of the longest.

    Where `work` cannot even begin, in any rank, its DFCNetError is raised in all.
    """
    mine, error = Done(), None
    try:
        mine = work()
    except DFCNetError as caught:
        error = caught
    outcomes = ranks.gather((mine, error))
    errors = {str(error): error for _, error in outcomes if error is not None}
    if errors:
        first, *others = errors.values()
        if ranks.number == 0:
            for other in others:
                complain(str(other))
        raise first
    parts = [part for part, _ in outcomes]
    return Done(
        sum(part.scenes for part in parts),
        sum(part.pixels for part in parts),
        mine.finished,
        max(part.seconds for part in parts),
        [error for part in parts for error in part.errors],
        mine.task,
    )
