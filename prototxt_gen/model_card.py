"""The model card: a small JSON beside the weights that says how their net reads and answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from common.datasets import Dataset, dataset_with_classes
from common.errors import WeightsError
from common.files import write_text
from prototxt_gen.input_comment import BGR
from prototxt_gen.shapes import is_input_size, nearest_input_sizes

IMAGE_DIGITS = 12  # hexadecimal, of an image's SHA-256: a chance of 1e-11 that two of thousands are alike


def _tile_side(side: int) -> int:
    if not is_input_size(side):
        raise ValueError(f"must be 32k+1, as {nearest_input_sizes(side)}")
    return side


class WeightsSource(BaseModel):
    """Weights that a training was started with: the file as it was named, its SHA-256 in hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ModelCard(BaseModel):
    """What weights need to be used as they were trained, and what their training was started with.

    A net's input is (bands - mean) * scale, with `bands` in the order of its channels and `mean` in grey
    levels (0-255). `crop` is the side of the training crop in pixels. `tasks` maps a task to its data set;
    the first is the main one. `started_from` is empty for a training from scratch, None where it is not
    known. `trained_on` maps a task to the images of its training: the first digits of their SHA-256, with
    spaces between; None where they are not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    experiment: str
    model: str
    iteration: Annotated[int, Field(ge=0)]
    bands: tuple[str, ...] = BGR
    mean: tuple[float, ...]
    scale: Annotated[float, Field(gt=0)]
    crop: Annotated[int, AfterValidator(_tile_side)]
    tasks: dict[str, Dataset]
    started_from: tuple[WeightsSource, ...] | None = None
    trained_on: dict[str, str] | None = None

    def has_seen(self, task: str) -> frozenset[str]:
        """Return the images that `task` was trained on, by the first IMAGE_DIGITS digits of their SHA-256."""
        return frozenset((self.trained_on or {}).get(task, "").split())

    @field_validator("tasks", mode="before")
    @classmethod
    def _names_of_version_1(cls, tasks: object) -> object:
        if not isinstance(tasks, dict):
            return tasks
        return {
            task: _dataset_of(its) if isinstance(its, list | tuple) else its for task, its in tasks.items()
        }

    @model_validator(mode="after")
    def _each_band_has_a_mean(self) -> Self:
        if not 1 <= len(self.bands) == len(self.mean):
            raise ValueError(f"mean has {len(self.mean)} values for the bands {', '.join(self.bands)}")
        return self


def _dataset_of(names: Sequence) -> Dataset:
    dataset = dataset_with_classes(names)
    if dataset is None:
        classes = ", ".join(map(str, names))
        raise ValueError(
            f"version 1.0 named the classes alone, and no file of datasets/ has {classes}; write it"
        )
    return dataset


def card_path(weights_path: Path) -> Path:
    """Return where the card of `weights_path` stands: the same name with `.json`."""
    return Path(weights_path).with_suffix(".json")


def card_text(card: ModelCard) -> str:
    """Return what stands in a card's file."""
    return card.model_dump_json(indent=2, exclude_none=True) + "\n"


def write_card(weights_path: Path, card: ModelCard) -> Path:
    """Write `card` beside `weights_path` in one step, replacing an older one; return its path."""
    path = card_path(weights_path)
    write_text(path, card_text(card))
    return path


def read_card(weights_path: Path) -> ModelCard | None:
    """Return the card beside `weights_path`, or None where there is none.

    Raises WeightsError if the card is there but cannot be read, is not JSON or has a wrong field.
    """
    path = card_path(weights_path)
    remedy = f"write it again with the weights, or remove it to use {Path(weights_path).name} without a card"
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WeightsError(path, f"cannot be read ({error.strerror})", remedy) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        shown = repr(first["input"])
        value = f"{key} = {shown[:60]}" if key else "the file"
        raise WeightsError(path, f"is not a model card: {value}: {first['msg']}", remedy) from error
