"""The model card: a small JSON beside the weights that says how their net reads and answers."""

import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.datasets import Dataset, legacy_dataset
from common.errors import WeightsError
from common.files import file_checksum, write_text
from common.settings import explain_error
from prototxt_gen.input_comment import BGR
from prototxt_gen.shapes import is_input_size, nearest_input_sizes

CHECKSUM = "weights_sha256"  # key of a card's file: of the weights' file beside it; version 1.0 wrote none
IMAGE_DIGITS = 12  # hexadecimal, of an image's SHA-256: a chance of 1e-11 that two of thousands are alike


def _tile_side(side: int) -> int:
    if not is_input_size(side):
        raise ValueError(f"{side} is not 32k+1; give {nearest_input_sizes(side)}")
    return side


class WeightsSource(BaseModel):
    """Weights that a training was started with: the file as it was named, its SHA-256 in hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Calibration(BaseModel):
    """A temperature that a task's probabilities are scaled by, and how they were predicted to fit it.

    `scales` and `flip` are those of the prediction; `ece_before` and `ece_after` its expected calibration
    errors (0 to 1) on the `scenes` that it was fitted on, each with a temperature of the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: Annotated[float, Field(gt=0)]
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    scenes: Annotated[int, Field(ge=1)]
    ece_before: float
    ece_after: float


class ModelCard(BaseModel):
    """What weights need to be used as they were trained, and what their training was started with.

    A net's input is (bands - mean) * scale, with `bands` in the order of its channels and `mean` in grey
    levels (0-255). `crop` is the side of the training crop in pixels. `tasks` maps a task to its data set;
    the first is the main one. `started_from` is empty for a training from scratch, None where it is not
    known. `trained_on` maps a task to the images of its training: the first digits of their SHA-256, with
    spaces between; None where they are not known. `calibrations` maps a task to its Calibration, once
    calibrate.py has fitted one.
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
    calibrations: dict[str, Calibration] | None = None

    def has_seen(self, task: str) -> frozenset[str]:
        """Return the images that `task` was trained on, by the first IMAGE_DIGITS digits of their SHA-256."""
        return frozenset((self.trained_on or {}).get(task, "").split())

    @model_validator(mode="after")
    def _each_band_has_a_mean(self) -> Self:
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands: {', '.join(self.bands)} names a band twice; name each once")
        if not 1 <= len(self.bands) == len(self.mean):
            raise ValueError(
                f"mean has {len(self.mean)} values for the bands {', '.join(self.bands)}; give one each"
            )
        return self


def card_path(weights_path: Path) -> Path:
    """Return where the card of `weights_path` stands: the same name with `.json`."""
    return Path(weights_path).with_suffix(".json")


def write_card(weights_path: Path, card: ModelCard) -> Path:
    """Write `card` beside `weights_path` in one step, replacing an older one; return its path.

    The file says too which weights these are, by their SHA-256, if they are there.
    """
    path, entries = card_path(weights_path), card.model_dump(mode="json", exclude_none=True)
    if Path(weights_path).exists():
        entries[CHECKSUM] = file_checksum(weights_path)
    write_text(path, json.dumps(entries, indent=2) + "\n")
    return path


def weights_checksum(weights_path: Path) -> str | None:
    """Return the SHA-256 that the card beside `weights_path` has of them; None where it says none."""
    try:
        return json.loads(card_path(weights_path).read_bytes())[CHECKSUM]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def read_card(weights_path: Path) -> ModelCard | None:
    """Return the card beside `weights_path`, or None where there is none.

    A task of which the classes alone are named, as by version 1.0, has the data set of datasets/ with these.
    Raises WeightsError if the card is there but cannot be read, is not JSON or has a wrong field, and
    ExperimentError where not just one data set has the classes.
    """
    path = card_path(weights_path)
    remedy = f"write it again with the weights, or remove it to use {Path(weights_path).name} without a card"
    try:
        card = json.loads(path.read_bytes())
        if isinstance(card, dict):
            card.pop(CHECKSUM, None)
        if isinstance(card, dict) and isinstance(card.get("tasks"), dict):
            tasks = card["tasks"].items()
            card["tasks"] = {task: legacy_dataset(entry, path, f"tasks.{task}") for task, entry in tasks}
        return ModelCard.model_validate(card)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WeightsError(path, f"cannot be read ({error.strerror})", remedy) from error
    except ValidationError as error:
        raise WeightsError(path, f"is not a model card ({explain_error(error)[0]})", remedy) from error
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8
        raise WeightsError(path, f"is not a model card ({error})", remedy) from error
