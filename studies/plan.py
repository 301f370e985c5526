"""A study's file: which experiment, arms, seeds, data and test; checked before anything is computed."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from common.errors import DFCNetError, ExperimentError
from common.settings import ConfigFile, Count, Positive, Seed, StrictModel, read_toml, validated
from data_prep.records import MAX_JITTER, MAX_MARGIN
from evaluation.intervals import MAX_RESAMPLES
from inference.predictor import check_scales
from prototxt_gen.experiment import Experiment, experiment_path, read_experiment
from prototxt_gen.shapes import is_input_size, nearest_input_sizes
from studies.arms import ARMS, ArmName, derive, main_crops


class TaskScenes(StrictModel):
    """The scenes of a task. Paths are relative to the data folder that a user gives."""

    images: tuple[str, ...] = Field(strict=False, min_length=1)  # folders
    variants: Count  # records per scene
    hold_out: Annotated[int, Field(ge=2)] | None = None  # every so many-th scene, by id, tests; or
    train: Count | None = None  # so many train, by a hash of the ids, and the others test
    leave_out: str | None = None  # list of ids to leave out, as verify_data.py --fix-list writes it
    # So many of the scenes that train, by a hash of the ids, test in place of those held out, which rest.
    development: Count | None = None
    rotate: bool = False  # records by a random multiple of 90 degrees
    jitter: Annotated[float, Field(ge=0, le=MAX_JITTER)] = 0.0  # brightness and contrast of records
    class_aware: bool = False  # records where a class drawn at random has most pixels


class RecordOptions(StrictModel):
    """How records are cut from the scenes."""

    margin: Annotated[int, Field(ge=0, le=MAX_MARGIN)] = 32  # pixels of a record beyond the crop
    seed: Seed = 1


class TestOptions(StrictModel):
    """How the held-out scenes are mapped the second time, after once at one scale."""

    scales: tuple[Positive, ...] = Field(strict=False)
    flip: bool
    tile: Count | None = None  # side in pixels, 32k+1; else the crop
    own_statistics: Count | None = None  # also with BatchNorm's statistics of so many passes of the main task
    resamples: Annotated[int, Field(ge=100, le=MAX_RESAMPLES)] = 1000  # of the bootstrap

    @model_validator(mode="after")
    def _can_be_mapped(self) -> Self:
        if self.tile is not None and not is_input_size(self.tile):
            raise ValueError(f"tile {self.tile} is not 32k+1; take {nearest_input_sizes(self.tile)}")
        try:
            check_scales(self.scales)
        except DFCNetError as error:
            raise ValueError(f"scales {error.fact}; {error.remedy}") from error
        return self


class Study(ConfigFile):
    """One study file."""

    EXAMPLE: ClassVar[str] = "studies/small.toml"
    REJECTED_KEYS: ClassVar[dict[str, str]] = {
        "data": "write [scenes.TASK] for each task, and [records], as studies/small.toml does"
    }
    title: str
    experiment: str  # of DFCNet: a name of solvers/, or a path relative to the study's file
    set: tuple[str, ...] = Field(default=(), strict=False)  # replaces its settings, as --set of the tools
    arms: tuple[ArmName, ...] = Field(default=tuple(ARMS), strict=False, min_length=1)
    seeds: tuple[Seed, ...] = Field(strict=False, min_length=1)
    equal_samples: bool = True  # refuse arms that see different numbers of the main task's crops
    batch_size: dict[ArmName, Count] = Field(default_factory=dict)  # of an arm that is to have another one
    start_from: dict[ArmName, ArmName] = Field(default_factory=dict)  # begin with the weights of another
    scenes: dict[str, TaskScenes]  # of each task; those of the first test too
    records: RecordOptions = RecordOptions()
    test: TestOptions

    @model_validator(mode="after")
    def _arms_are_known_and_in_order(self) -> Self:
        for key in ("arms", "seeds"):
            if len(set(getattr(self, key))) < len(getattr(self, key)):
                raise ValueError(f"{key} {list(getattr(self, key))} names one twice; name each once")
        for arm in self.batch_size:
            if arm not in self.arms:
                remedy = f"name one of {', '.join(self.arms)}"
                raise ValueError(f"batch_size is for {arm}, which is not one of the arms; {remedy}")
        for arm, first in self.start_from.items():
            if arm not in self.arms or first not in self.arms[: self.arms.index(arm)]:
                raise ValueError(f"start_from: {arm} begins with {first}; name {first} before {arm} in arms")
        return self


def study_path(named: str) -> Path:
    """Return the file that `named` means: a path that ends in .toml, or one of studies/."""
    return Path(named) if named.endswith(".toml") else Path(__file__).parent / f"{named}.toml"


def read_study(path: Path) -> tuple[Study, Experiment]:
    """Read a study file and the experiment of DFCNet that it names; ExperimentError with key and remedy."""
    path = Path(path)
    study = validated(Study, read_toml(path, "a study"), path.stem, path)
    return study, base_experiment(study, path)


def base_experiment(study: Study, path: Path) -> Experiment:
    """Read the experiment that a study, of the file `path`, names; ExperimentError as `read_study`."""
    base = experiment_path(study.experiment, path.parent)
    experiment = read_experiment(base, study.set)
    if experiment.fusion is None or len(experiment.tasks) < 2:
        fact = f"is {experiment.model} on {' and '.join(experiment.tasks)}"
        raise ExperimentError(base, fact, "name one with [fusion] and a classmate: the arms derive from it")
    _check_scenes(study, experiment, path)
    _check_fair(study, experiment, path)
    return experiment


def experiment_of(study: Study, base: Experiment, arm: str, seed: int, data: Path) -> Experiment:
    """Return the experiment of one arm and seed, on databases in the folder `data`."""
    return derive(base, arm, seed, data, study.batch_size)


def crops_seen(study: Study, base: Experiment) -> dict[str, int]:
    """Return how many crops of the main task each arm's weights have seen, in the arm it starts from too."""
    seen: dict[str, int] = {}
    for arm in study.arms:
        before = seen[study.start_from[arm]] if arm in study.start_from else 0
        seen[arm] = before + main_crops(experiment_of(study, base, arm, 0, Path()))
    return seen


def _check_scenes(study: Study, base: Experiment, path: Path) -> None:
    for task in {*study.scenes} ^ {*base.tasks}:
        table = "no table of" if task in base.tasks else "a table of"
        remedy = f"write a table [scenes.TASK] for each of {', '.join(base.tasks)}, the tasks of {base.name}"
        raise ExperimentError(path, f"scenes: has {table} {task}", remedy)
    for task, scenes in study.scenes.items():
        if task == base.task_names()[0] and (scenes.hold_out is None) == (scenes.train is None):
            raise ExperimentError(path, f"scenes.{task}: {task} is tested", "give one of hold_out and train")
        for key in ("hold_out", "development"):
            if task != base.task_names()[0] and getattr(scenes, key) is not None:
                raise ExperimentError(path, f"scenes.{task}.{key}: {task} is not tested", "leave it out")


def _check_fair(study: Study, base: Experiment, path: Path) -> None:
    seen = crops_seen(study, base)
    if study.equal_samples and len(set(seen.values())) > 1:
        counts = ", ".join(f"{arm} {count:,}" for arm, count in seen.items())
        remedy = "take batch_size and start_from out, or say equal_samples = false"
        fact = f"the arms see different numbers of {base.task_names()[0]} crops ({counts})"
        raise ExperimentError(path, fact, remedy)
