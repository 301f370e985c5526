"""A run of predict.py: which scenes are to do, shared over ranks, and what came of it."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import rasterio
from rasterio.errors import RasterioError

from common.errors import DataError, DFCNetError, OutputError
from common.files import no_empty_folders, readable, resolved
from common.numbers import plural
from data_prep.geotiff import SETTINGS
from data_prep.read_options import ReadOptions
from data_prep.scene_image import TIFF, driver_of
from inference.prediction_manifest import is_finished
from inference.process_group import ProcessGroup, assign_scenes
from inference.scene_files import ScenePath
from inference.scene_maps import OutputOptions
from inference.scene_predictor import ScenePredictor

SPARE = 16  # characters that names of unfinished files have more


@dataclass(frozen=True)
class PredictionPlan:
    """The scenes to predict, with their sizes in pixels (0: not known), and how many are finished."""

    scenes: Sequence[ScenePath]
    pixels: Sequence[int]
    finished: int
    errors: Sequence[str] = ()  # of scenes that are not even begun, in a line each


@dataclass
class PredictionSummary:
    """What was done for a task: scenes and pixels predicted, and errors, each in one line, of the others."""

    scenes: int = 0
    pixels: int = 0
    finished: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    task: str = ""

    def line(self, out: Path) -> str:
        """Return in a line what was done."""
        maps = plural(self.scenes, f"{self.task} map")
        text = f"{maps} in {out}, {self.seconds / max(self.scenes, 1):.2f} s a scene"
        if self.finished:
            text += f"; {self.finished} finished before"
        if self.errors:
            text += f"; {len(self.errors)} failed"
        return text


def plan_predictions(
    scenes: Sequence[ScenePath],
    out: Path,
    outputs: OutputOptions,
    read_options: ReadOptions,
    settings: Mapping[str, object],
    overwrite: bool = False,
) -> PredictionPlan:
    """Return what is to do: scenes whose maps are there, made with these settings, are finished.

    Scenes that cannot be mapped, by their names or rights, are among the errors. Raises OutputError, before
    time is spent, where `out` is a folder of scenes or a map is there that was made in another way (unless
    `overwrite`); DataError where a scene lacks a band whose number is chosen.
    """
    for scene in scenes:
        if resolved(scene.path).parent == resolved(out):
            fact = f"is the folder of {scene.path.name}"
            raise OutputError(out, fact, "choose another --out: a map could replace a true mask")
    todo, errors, finished, longest = [], [], 0, _longest_name(out)
    for scene in scenes:
        names = outputs.names(scene.id, driver_of(scene.path) == TIFF)
        try:
            _refuse_long_names(scene, names, longest)
            done = is_finished(out, scene.id, scene.path, names, settings, overwrite)
        except DataError as error:
            errors.append(str(error))
            continue
        if done:
            finished += 1
        else:
            todo.append(scene)
    return PredictionPlan(todo, [_pixels(scene.path, read_options) for scene in todo], finished, errors)


def _longest_name(out: Path) -> int:
    """Return how many bytes a file's name may have in a folder, or in the one that it will be made in."""
    existing = next(folder for folder in (out, *resolved(out).parents) if folder.is_dir())
    return os.pathconf(existing, "PC_NAME_MAX")


def _refuse_long_names(scene: ScenePath, names: Sequence[str], longest: int) -> None:
    length = max(len(os.fsencode(name)) for name in names) + SPARE
    if length > longest:
        fact = f"would make names of {length} bytes, where {longest} are possible"
        raise DataError(scene.path, fact, "give it a shorter name")


def _pixels(path: Path, read_options: ReadOptions) -> int:
    """Return an image's size from its header; 0 where it has none: then predicting it fails."""
    driver = driver_of(path)
    if driver is None:  # GDAL would try all formats that it knows
        return 0
    if driver != TIFF:
        read_options.refuse_numbers_for(path)
    try:
        with (
            rasterio.Env(**SETTINGS),
            warnings.catch_warnings(action="ignore"),
            rasterio.open(path, driver=driver) as header,
        ):
            if driver == TIFF:
                read_options.check_numbers(path, header.count)
            return header.width * header.height
    except (RasterioError, ValueError, TypeError):
        return 0


def predict(
    group: ProcessGroup,
    plan: PredictionPlan,
    predict_scene: ScenePredictor,
    log: Callable[[str], None],
    advance: Callable[[int], object] = lambda pixels: None,
) -> PredictionSummary:
    """Predict this rank's share of the plan; a scene that fails is reported, the others go on."""
    errors = list(plan.errors) if group.rank == 0 else []
    done, begin = (
        PredictionSummary(finished=plan.finished, errors=errors, task=predict_scene.trained.task),
        perf_counter(),
    )
    for number in assign_scenes(plan.pixels, group.size)[group.rank]:
        scene = plan.scenes[number]
        try:
            with readable(scene.path):  # it may have gone meanwhile, or its disk fails
                predict_scene(scene, advance)
        except DFCNetError as error:
            done.errors.append(str(error))
            log(str(error))
        else:
            done.scenes += 1
            done.pixels += plan.pixels[number]
    done.seconds = perf_counter() - begin
    return done


def on_all_ranks(
    group: ProcessGroup, work: Callable[[], PredictionSummary], out: Path, log: Callable[[str], None]
) -> PredictionSummary:
    """Return what all ranks did, after the last of them; the time is that of the longest.

    Where `work` cannot even begin, in any rank, its DFCNetError is raised in all. A new folder `out` that is
    empty in the end goes: of several ranks, the first alone knows that it is new.
    """
    summary, error = PredictionSummary(), None
    with no_empty_folders(out):
        try:
            summary = work()
        except DFCNetError as caught:
            error = caught
        outcomes = group.gather((summary, error))
    errors = {str(error): error for _, error in outcomes if error is not None}
    if errors:
        first, *others = errors.values()
        if group.rank == 0:
            for other in others:
                log(str(other))
        raise first
    parts = [part for part, _ in outcomes]
    return PredictionSummary(
        sum(part.scenes for part in parts),
        sum(part.pixels for part in parts),
        summary.finished,
        max(part.seconds for part in parts),
        [error for part in parts for error in part.errors],
        summary.task,
    )
