"""An experiment: every number of a net and its training, read from solvers/<name>.toml."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import ExperimentError
from prototxt_gen.sides import is_side, neighbours

TASKS = ("land", "road")  # order on the batch axis
# What the paper's nets train; DFCNet's dense fusion can also be had without a classmate.
MODELS = {"baseline": [["land"]], "classmate": [[*TASKS]], "dfcnet": [[*TASKS], ["land"]]}
# Fields of Caffe's solver that are no settings here, and what they come from.
DERIVED = {
    "iter_size": "it follows from batch_size, ranks, tasks and images_per_pass",
    **dict.fromkeys(("net", "train_net", "snapshot_prefix", "weights"), "the command names files"),
    **dict.fromkeys(("solver_mode", "device_id"), "the command chooses CPU or GPUs"),
    **dict.fromkeys(("test_iter", "test_interval", "test_net"), "validate_every scores held-out records"),
    **dict.fromkeys(("snapshot_format", "snapshot_after_train"), "snapshots have one form"),
    "layer_wise_reduce": "it follows from iter_size",
}
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
T = TypeVar("T", bound="Named")


class Strict(BaseModel):
    """A table of an experiment file: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Input(Strict):
    """What the net sees: (BGR - mean) * scale in crops of crop x crop pixels."""

    crop: Count
    mean: tuple[float, float, float] = Field(strict=False)
    scale: Positive
    mirror: bool = True  # at random, left to right, while training

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if not is_side(self.crop):
            raise ValueError(f"crop {self.crop} is not 32k+1; take {neighbours(self.crop)}")
        return self


class DenseNet(Strict):
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


class Task(Strict):
    """One task's labels, data and weight in the loss."""

    classes: Annotated[int, Field(ge=2, le=254)]
    ignore_label: Annotated[int, Field(ge=0, le=255)] = 255
    source: str  # LMDB, as Caffe will open it: relative to the working folder
    validation: str | None = None  # LMDB of held-out scenes, scored every validate_every iterations
    loss_weight: Positive = 1.0
    class_weights: tuple[NotNegative, ...] | None = Field(default=None, strict=False)  # of the loss, by class

    @model_validator(mode="after")
    def _ignored_is_no_class(self) -> Self:
        if self.ignore_label < self.classes:
            raise ValueError(f"ignore_label {self.ignore_label} is one of the {self.classes} classes")
        weights = self.class_weights
        if weights is not None and (len(weights) != self.classes or not any(weights)):
            raise ValueError(
                f"class_weights {list(weights)} must be one for each of the {self.classes} classes"
            )
        return self


class Multiplier(Strict):
    """Multipliers on base_lr and weight_decay for the layers whose name fits a shell pattern."""

    layers: str
    lr: NotNegative = 1.0
    decay: NotNegative = 1.0


class Solver(Strict):
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
    gamma: float | None = None  # negative for a falling sigmoid
    stepsize: Count | None = None
    stepvalue: tuple[Count, ...] | None = Field(default=None, strict=False)
    type: Literal["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"] = "SGD"
    momentum: NotNegative = 0.0
    momentum2: NotNegative | None = None
    rms_decay: NotNegative | None = None
    delta: Positive | None = None
    weight_decay: NotNegative = 0.0
    regularization_type: Literal["L1", "L2"] | None = None
    clip_gradients: Positive | None = None
    display: Count = 20
    average_loss: Count | None = None
    debug_info: bool | None = None
    snapshot: Count
    random_seed: Annotated[int, Field(ge=0)] = 1

    def due(self, every: int | None, iteration: int) -> bool:
        """Tell whether something done `every` so many iterations (None: never) is due after `iteration`."""
        return every is not None and iteration % every == 0

    @model_validator(mode="after")
    def _snapshots_are_scored(self) -> Self:
        every = self.validate_every
        if every and self.snapshot % every:
            below = self.snapshot // every * every
            taken = " or ".join(str(number) for number in (below, below + every) if number)
            raise ValueError(
                f"snapshot {self.snapshot} is no multiple of validate_every {every}, so that snapshots would "
                f"have no score to be kept by; take {taken}"
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
            raise ValueError(f'lr_policy "{self.lr_policy}" needs {" and ".join(missing)}')
        return self


class Named(Strict):
    """A file's whole content. `name` is the file's stem, EXAMPLE a file that has all keys."""

    EXAMPLE: ClassVar[str]
    name: str


class Experiment(Named):
    """One experiment file."""

    EXAMPLE = "solvers/dfcnet.toml"
    model: Literal["baseline", "classmate", "dfcnet"]
    input: Input
    densenet: DenseNet
    head_channels: Count
    fusion_channels: Count | None = None
    tasks: dict[Literal["land", "road"], Task]
    multipliers: tuple[Multiplier, ...] = Field(default=(), strict=False)  # the first that fits counts
    solver: Solver

    @model_validator(mode="after")
    def _parts_belong_together(self) -> Self:
        if self.task_names() not in MODELS[self.model]:
            wanted = ", or ".join(" and ".join(tasks) for tasks in MODELS[self.model])
            raise ValueError(
                f"model {self.model} trains {wanted}, tasks has {' and '.join(self.tasks) or 'none'}"
            )
        blocks = 4 if self.model == "dfcnet" else 3
        if len(self.densenet.decoder_units) != blocks:
            raise ValueError(
                f"model {self.model} has {blocks} decoder blocks, "
                f"decoder_units gives {len(self.densenet.decoder_units)}"
            )
        if (self.fusion_channels is not None) != (self.model == "dfcnet"):
            raise ValueError("fusion_channels belongs to model dfcnet, and only to it")
        if self.solver.validate_every and not any(task.validation for task in self.tasks.values()):
            raise ValueError("validate_every needs the key validation in a task")
        self.iter_size()
        return self

    def iter_size(self, ranks: int | None = None) -> int:
        """Return the passes per update and rank; raise ValueError if the batch does not divide."""
        ranks = self.solver.ranks if ranks is None else ranks
        if ranks < 1:
            raise ValueError(f"{ranks} ranks cannot share a batch")
        images = ranks * len(self.tasks) * self.solver.images_per_pass
        passes, rest = divmod(self.solver.batch_size, images)
        if rest or not passes:
            raise ValueError(
                f"batch_size {self.solver.batch_size} is no multiple of {ranks} ranks x {len(self.tasks)} "
                f"tasks x {self.solver.images_per_pass} images_per_pass = {images}"
            )
        return passes

    def task_names(self) -> list[str]:
        """Return the tasks in the order of the batch axis: land, road."""
        return [task for task in TASKS if task in self.tasks]


def read_experiment(path: Path, settings: Sequence[str] = ()) -> Experiment:
    """Read and check an experiment file; raise ExperimentError with the file, the key and the remedy.

    `settings` are "table.key=value" with a TOML value, and replace or add keys.
    """
    path = Path(path)
    table = read_toml(path, "an experiment file")
    for setting in settings:
        _set(table, setting)
    where = f"{path} with --set {' '.join(settings)}" if settings else path
    return checked(Experiment, table, path.stem, where)


def read_toml(path: Path, kind: str) -> dict:
    """Return the tables of a TOML file; ExperimentError where it cannot be read, naming its neighbours."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.toml"))) or "none there"
        remedy = f"name {kind} ({known})"
        raise ExperimentError(path, f"cannot be read ({error.strerror})", remedy) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(path, f"is not TOML ({error})", "mend the file") from error


def checked(kind: type[T], table: dict, name: str, where: object) -> T:
    """Return a file's table, named `name`, as the model `kind`; ExperimentError with key and remedy."""
    try:
        return kind(name=name, **table)
    except ValidationError as error:
        raise ExperimentError(where, *_explain(error, kind.EXAMPLE)) from error
    except TypeError as error:
        raise ExperimentError(
            where, "gives the key name", "leave it out: the file's name is the name"
        ) from error


def _set(table: dict, setting: str) -> None:
    """Put "table.key=value" into a TOML table; ExperimentError if it is not of that form."""
    name, _, value = setting.partition("=")
    *tables, key = name.strip().split(".")
    try:
        for part in tables:
            table = table.setdefault(part, {})
        table[key] = tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, AttributeError, TypeError) as error:
        remedy = "write table.key=value with a TOML value, as input.crop=513 or \"model='dfcnet'\""
        raise ExperimentError("--set", f"cannot read {setting!r}", remedy) from error


def _explain(error: ValidationError, example: str) -> tuple[str, str]:
    """Return what is wrong and what to do for one finding: a misspelt key is unknown before it is missing."""
    first = min(error.errors(), key=lambda finding: finding["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden" and first["loc"][0] == "solver" and first["loc"][-1] in DERIVED:
        return f"{key} is not to be given", f"leave it out: {DERIVED[first['loc'][-1]]}"
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}", "remove it, or correct its spelling"
    if first["type"] == "missing":
        return f"key {key} is missing", f"add it; {example} shows all keys"
    if first["type"] == "value_error":
        return f"{key + ': ' if key else ''}{first['ctx']['error']}", "correct the setting"
    if first["type"] == "too_short":
        return f"{key} = {first['input']!r}", f"give {first['ctx']['min_length']} or more"
    return f"{key} = {first['input']!r}", first["msg"][0].lower() + first["msg"][1:]
