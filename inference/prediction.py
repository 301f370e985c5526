"""A run of predict.py: which scenes are to do, shared over ranks, and what came of it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter

from common.errors import DataError, DFCNetError, OutputError
from common.files import no_empty_folders, readable, resolved
from common.numbers import plural
from data_prep.read_options import ReadOptions
from data_prep.scene_image import TIFF, driver_of, open_image, stated_size
from data_prep.scene_pixels import windows
from data_prep.workers import Result, ordered, refuse_crash
from inference.prediction_manifest import is_finished
from inference.process_group import ProcessGroup, assign_scenes
from inference.scene_files import ScenePath
from inference.scene_maps import OutputOptions
from inference.scene_predictor import ScenePredictor

TRIAL_SIDE = 1024  # pixels a side that are read at once where an image is read through
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
    if driver is None:
        return 0
    pixels, bands = stated_size(path)
    if driver != TIFF:
        read_options.refuse_numbers_for(path)
    elif pixels:
        read_options.check_numbers(path, bands)
    return pixels


def predict(
    group: ProcessGroup,
    plan: PredictionPlan,
    predict_scene: ScenePredictor,
    log: Callable[[str], None],
    advance: Callable[[int], object] = lambda pixels: None,
) -> PredictionSummary:
    """Predict this rank's share of the plan; a scene that fails is reported, the others go on.

    Each image is first read through in another process, while the one before it is predicted: so one at which
    the libraries that decode it crash costs its own map alone.
    """
    errors = list(plan.errors) if group.rank == 0 else []
    done, begin = (
        PredictionSummary(finished=plan.finished, errors=errors, task=predict_scene.trained.task),
        perf_counter(),
    )
    numbers = assign_scenes(plan.pixels, group.size)[group.rank]
    read = partial(_read_through, read_options=predict_scene.read_options)
    with closing(
        ordered(read, [plan.scenes[number].path for number in numbers], 1, crashed=_crashed)
    ) as trials:
        for number, (crash, _) in zip(numbers, trials, strict=True):
            scene = plan.scenes[number]
            try:
                if crash is not None:
                    raise crash
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


def _read_through(path: Path, read_options: ReadOptions) -> Iterator[Result]:
    """Decode all of an image and yield a result of nothing; what its errors are, the prediction says."""
    with suppress(DFCNetError, OSError, MemoryError), open_image(path, read_options) as image:
        for window in windows(image.shape, TRIAL_SIDE):
            image.read(*window)
    yield None, b""


def _crashed(path: Path, by: str) -> Result:
    return refuse_crash(path, by), b""


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
