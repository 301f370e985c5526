"""An experiment: every number of a net and its training, read from solvers/<name>/experiment.toml."""

import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from common.datasets import IDENTIFIER, Dataset, ResizeRange, read_dataset
from common.errors import ExperimentError
from common.settings import (
    ConfigFile,
    Count,
    Float32,
    Fraction,
    NotNegative,
    Positive,
    Seed,
    StrictModel,
    read_toml,
    validated,
)
from prototxt_gen.shapes import is_input_size, nearest_input_sizes

SOLVERS = Path(__file__).resolve().parent.parent / "solvers"
FILE = "experiment.toml"  # of an experiment that has a folder of its own, whose name is the experiment's
# Fields of Caffe's solver that are not settings here, and what they come from.
DERIVED = {
    "iter_size": "it follows from batch_size, ranks, tasks and images_per_pass",
    **dict.fromkeys(("net", "train_net", "snapshot_prefix", "weights"), "the command names files"),
    **dict.fromkeys(("solver_mode", "device_id"), "the command chooses CPU or GPUs"),
    **dict.fromkeys(("test_iter", "test_interval", "test_net"), "validate_every scores held-out records"),
    **dict.fromkeys(("snapshot_format", "snapshot_after_train"), "snapshots have one form"),
    "layer_wise_reduce": "it follows from iter_size",
}
GreyLevel = Annotated[float, Field(ge=0, le=255)]


class Input(StrictModel):
    """What the net sees: (bands - mean) * scale in crops of crop x crop pixels.

    `bands` are those of the data sets that are used, in the order of the net's input channels.
    """

    crop: Count
    bands: tuple[str, ...] = Field(default=("blue", "green", "red"), strict=False, min_length=1, max_length=8)
    mean: tuple[GreyLevel, ...] = Field(strict=False)  # of each band
    scale: Positive
    mirror: bool = True  # at random, left to right, while training

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if not is_input_size(self.crop):
            raise ValueError(f"crop {self.crop} is not 32k+1; take {nearest_input_sizes(self.crop)}")
        return self

    @model_validator(mode="after")
    def _each_band_has_a_mean(self) -> Self:
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands {list(self.bands)} names a band twice; name each once")
        if len(self.mean) != len(self.bands):
            raise ValueError(
                f"mean {list(self.mean)} has {len(self.mean)} values; give one for each of the bands "
                f"{', '.join(self.bands)}"
            )
        return self


class DenseNet(StrictModel):
    """FC-DenseNet: encoder of DenseNet-121, decoder of DenseBlocks 6-9."""

    stem_channels: Count
    growth_rate: Count
    bottleneck: Count  # channels of a unit's 1x1 convolution, in growth rates
    compression: Annotated[float, Field(gt=0, le=1)]
    encoder_units: tuple[Count, Count, Count, Count] = Field(strict=False)
    decoder_units: tuple[Count, ...] = Field(strict=False)
    up_channels: Count  # after the 1x1 convolution of a transition up
    bn_moving_average: Annotated[float, Field(gt=0, lt=1)] = 0.999
    bn_frozen: bool = False
    dense_block: Literal["plain", "fused"] = "plain"  # of Caffe's layers, or of ours that do more at once
    keep_bottlenecks: bool = False  # of fused DenseBlocks: more memory in training, less time


class Fusion(StrictModel):
    """Dense fusion (2.3) of DenseBlocks 2-9."""

    channels: Count  # to which each block's output is projected


class Task(StrictModel):
    """One task: its data set, its records and its weight in the loss.

    In a file, `dataset` is a name of datasets/, or the path of a .toml file from the experiment's folder.
    """

    resize: ResizeRange | None = None  # of this task's records, in place of the data set's range
    dataset: Dataset
    source: str  # LMDB, as Caffe will open it: relative to the working folder
    validation: str | None = None  # LMDB of held-out scenes, scored every validate_every iterations
    loss_weight: Positive = 1.0
    class_weights: tuple[NotNegative, ...] | None = Field(default=None, strict=False)  # of the loss, by class

    @field_validator("dataset", mode="before")
    @classmethod
    def _read_dataset(cls, named: object, info: ValidationInfo) -> object:
        return (
            read_dataset(named, (info.context or {}).get("folder", Path()))
            if isinstance(named, str)
            else named
        )

    @field_validator("dataset")
    @classmethod
    def _resize_as_the_task_says(cls, dataset: Dataset, info: ValidationInfo) -> Dataset:
        resize = info.data.get("resize")
        return dataset if resize is None else dataset.model_copy(update={"resize": resize})

    @property
    def classes(self) -> int:
        """How many classes the task has."""
        return len(self.dataset.classes)

    @model_validator(mode="after")
    def _each_class_has_a_weight(self) -> Self:
        weights = self.class_weights
        if weights is not None and (len(weights) != self.classes or not any(weights)):
            raise ValueError(
                f"class_weights is {list(weights)}; give {self.classes}, one for each class, not all 0"
            )
        return self


class Multiplier(StrictModel):
    """Multipliers on base_lr and weight_decay for the layers whose name fits a shell pattern."""

    layers: str
    lr: NotNegative = 1.0
    decay: NotNegative = 1.0


class Solver(StrictModel):
    """Schedule and optimiser; names are Caffe's, but for the first five, which Caffe does not know."""

    batch_size: Count  # images per update: all tasks, all ranks
    ranks: Count  # GPUs (or processes) that share a batch
    images_per_pass: Count = 1  # of each task, that one rank holds at once
    keep_snapshots: Count = 3  # the newest; the best by validation is kept too
    validate_every: Count | None = None  # iterations
    max_iter: Count
    base_lr: Positive
    lr_policy: Literal["fixed", "poly", "step", "exp", "inv", "multistep", "sigmoid"]
    power: NotNegative | None = None
    gamma: Float32 | None = None  # negative for a falling sigmoid
    stepsize: Count | None = None
    stepvalue: tuple[Count, ...] | None = Field(default=None, strict=False)
    type: Literal["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"] = "SGD"
    momentum: Fraction = 0.0
    momentum2: Fraction | None = None
    rms_decay: Fraction | None = None
    delta: Positive | None = None
    weight_decay: Fraction = 0.0
    regularization_type: Literal["L1", "L2"] | None = None
    clip_gradients: Positive | None = None
    display: Count = 20
    average_loss: Count | None = None
    debug_info: bool | None = None
    snapshot: Count
    random_seed: Seed = 1

    def due(self, interval: int | None, iteration: int) -> bool:
        """Return whether what is done every `interval` iterations (None: never) is due after `iteration`."""
        return interval is not None and iteration % interval == 0

    @model_validator(mode="after")
    def _snapshots_are_scored(self) -> Self:
        interval = self.validate_every
        if interval and self.snapshot % interval:
            below = self.snapshot // interval * interval
            multiples = " or ".join(str(number) for number in (below, below + interval) if number)
            raise ValueError(
                f"snapshot {self.snapshot} is not a multiple of validate_every {interval}, so that snapshots "
                f"would have no score to be kept by; take {multiples}"
            )
        return self

    @model_validator(mode="after")
    def _policy_is_complete(self) -> Self:
        needs = {
            "poly": ["power"],
            "step": ["gamma", "stepsize"],
            "exp": ["gamma"],
            "inv": ["gamma", "power"],
            "multistep": ["gamma", "stepvalue"],
            "sigmoid": ["gamma", "stepsize"],
        }
        missing = [key for key in needs.get(self.lr_policy, []) if getattr(self, key) is None]
        if missing:
            raise ValueError(
                f'lr_policy "{self.lr_policy}" needs {" and ".join(missing)}; add what is missing'
            )
        if self.gamma is not None and self.gamma <= 0 and self.lr_policy != "sigmoid":
            raise ValueError(f"gamma {self.gamma:g} makes a learning rate of 0 or less; give more than 0")
        if self.stepvalue is not None and any(a >= b for a, b in pairwise(self.stepvalue)):
            raise ValueError(
                f"stepvalue {list(self.stepvalue)} does not rise; give each number once, in order"
            )
        return self


class Experiment(ConfigFile):
    """One experiment file."""

    EXAMPLE: ClassVar[str] = "solvers/dfcnet/experiment.toml"
    REJECTED_KEYS: ClassVar[dict[str, str]] = {
        "model": "tasks, and a table [fusion] or none, say which net it is",
        "fusion_channels": "it is called channels, in a table [fusion]",
        **{f"solver.{key}": reason for key, reason in DERIVED.items()},
        "tasks.*.classes": 'name the data set, as dataset = "deepglobe_land", which has the classes',
        "tasks.*.ignore_label": "255 is ignored in every database",
    }
    input: Input
    densenet: DenseNet
    fusion: Fusion | None = None  # None: there is no dense fusion
    head_channels: Count
    tasks: dict[str, Task] = Field(min_length=1)  # in the order of the batch axis; the first is the main one
    multipliers: tuple[Multiplier, ...] = Field(default=(), strict=False)  # the first that fits counts
    solver: Solver

    @model_validator(mode="after")
    def _parts_belong_together(self) -> Self:
        self._tasks_can_be_named()
        blocks = len(self.densenet.decoder_units)
        if blocks != 4 and (self.fusion or blocks != 3):
            expected = "4, which dense fusion needs" if self.fusion else "3 (DenseBlocks 6-8) or 4"
            raise ValueError(f"decoder_units gives {blocks} decoder blocks; give {expected}")
        if self.solver.validate_every and not any(task.validation for task in self.tasks.values()):
            raise ValueError("validate_every is given; give validation, a database, in a task too")
        self.iter_size()
        return self

    def _tasks_can_be_named(self) -> None:
        for name, task in self.tasks.items():
            if not IDENTIFIER.fullmatch(name):
                raise ValueError(f"tasks: {name!r} is not a name for layers; give letters, digits and _")
            for band in self.input.bands:
                if band not in task.dataset.bands:
                    known = ", ".join(task.dataset.bands)
                    raise ValueError(
                        f"input.bands: {task.dataset.name} has no band {band}; choose from {known}"
                    )

    def iter_size(self, ranks: int | None = None) -> int:
        """Return the passes per update and rank; raise ValueError if the batch does not divide."""
        ranks = self.solver.ranks if ranks is None else ranks
        if ranks < 1:
            raise ValueError(f"{ranks} ranks cannot share a batch; give 1 or more")
        images = ranks * len(self.tasks) * self.solver.images_per_pass
        passes, rest = divmod(self.solver.batch_size, images)
        if rest or not passes:
            raise ValueError(
                f"batch_size {self.solver.batch_size} is not a multiple of {ranks} ranks x {len(self.tasks)} "
                f"tasks x {self.solver.images_per_pass} images_per_pass = {images}; change one of these"
            )
        return passes

    def task(self, name: str) -> Task:
        """Return a task by its name; ExperimentError if there is no such task."""
        if name not in self.tasks:
            raise ExperimentError(self.name, f"has no task {name}", f"choose from {', '.join(self.tasks)}")
        return self.tasks[name]

    @property
    def model(self) -> str:
        """What the paper calls the net."""
        if self.fusion:
            return "DFCNet" if len(self.tasks) > 1 else "FC-DenseNet with dense fusion"
        return "ClassmateNet" if len(self.tasks) > 1 else "FC-DenseNet"

    def task_names(self) -> list[str]:
        """Return the tasks in the order of the batch axis."""
        return list(self.tasks)


def experiment_path(named: str, folder: Path = Path()) -> Path:
    """Return the file that `named` means: one of solvers/, or a path from `folder` to it or to its folder."""
    if named.endswith(".toml"):
        return folder / named
    return (folder / named if "/" in named else SOLVERS / named) / FILE


def read_experiment(path: Path, settings: Sequence[str] = ()) -> Experiment:
    """Read and check an experiment file; raise ExperimentError with the file, the key and the remedy.

    `settings` are "table.key=value" with a TOML value, and replace or add keys.
    """
    path = Path(path)
    table = read_toml(path, "an experiment")
    for setting in settings:
        _set(table, setting)
    where = f"{path} with --set {' '.join(settings)}" if settings else path
    name = path.absolute().parent.name if path.name == FILE else path.stem
    return validated(Experiment, table, name, where, path.parent)


def _set(table: dict, setting: str) -> None:
    """Put "table.key=value" into a TOML table; ExperimentError if it is not of that form."""
    name, _, value = setting.partition("=")
    *tables, key = name.strip().split(".")
    try:
        for part in tables:
            table = table.setdefault(part, {})
        [table[key]] = tomllib.loads(f"value = {value}").values()  # a line break could begin another key
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        remedy = "write table.key=value with a TOML value, as input.crop=513 or \"solver.type='Adam'\""
        raise ExperimentError("--set", f"cannot read {setting!r}", remedy) from error
