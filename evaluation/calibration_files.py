"""A fitted temperature as a file: what the report and the reliability diagram are made from."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from common.errors import DataError, OutputError, WeightsError
from common.files import read_bytes, short_checksum
from common.numbers import json_number, plural
from common.settings import StrictModel, explain_error
from evaluation.calibration import FittedTemperature, Reliability
from inference.loading import TrainedTask
from prototxt_gen.model_card import Calibration, ModelCard, card_path, read_card


class ReliabilityBins(StrictModel):
    """A Reliability with its expected calibration error; None in empty bins."""

    ece: float
    pixels: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]

    @classmethod
    def of(cls, reliability: Reliability) -> "ReliabilityBins":
        """Return the bins of a reliability."""
        return cls(
            ece=reliability.ece,
            pixels=tuple(reliability.pixels.tolist()),
            confidence=tuple(map(json_number, reliability.confidence)),
            accuracy=tuple(map(json_number, reliability.accuracy)),
        )

    def curve(self) -> dict[float, float]:
        """Return the accuracy by the mean confidence of each bin that is not empty."""
        pairs = zip(self.confidence, self.accuracy, strict=True)
        return {sure: right for sure, right in pairs if sure is not None}


class CalibrationFile(StrictModel):
    """What calibrate.py found: of which weights (their checksum), how they predicted, and on which scenes."""

    task: str
    dataset: str
    weights: str
    temperature: float
    scales: tuple[float, ...]
    flip: bool
    scenes: tuple[str, ...]
    before: ReliabilityBins
    after: ReliabilityBins

    @classmethod
    def of(
        cls,
        fitted: FittedTemperature,
        trained: TrainedTask,
        weights: Path,
        scales: Sequence[float],
        flip: bool,
        scenes: Sequence[str],
    ) -> "CalibrationFile":
        """Return what was fitted to `weights`, which predicted `scenes` at these scales."""
        return cls(
            task=trained.task,
            dataset=trained.dataset.name,
            weights=short_checksum(weights),
            temperature=fitted.temperature,
            scales=tuple(scales),
            flip=flip,
            scenes=tuple(scenes),
            before=ReliabilityBins.of(fitted.before),
            after=ReliabilityBins.of(fitted.after),
        )

    def text(self) -> str:
        """Return it in two lines."""
        seen = f"{plural(len(self.scenes), 'scene')}, {plural(sum(self.before.pixels), 'pixel')}"
        return (
            f"{self.task}: temperature {self.temperature:.3f}, {seen}\n"
            f"expected calibration error: {100 * self.before.ece:.2f} % before, {100 * self.after.ece:.2f} % "
            "after (each scene with a temperature of the others)"
        )


def uncalibrated_card(weights: Path, task: str | None, overwrite: bool) -> ModelCard:
    """Return the card of weights that are to be calibrated; WeightsError where there is none.

    Raises OutputError where `task` (None: the main one) has a calibration, unless `overwrite`.
    """
    card = read_card(weights)
    if card is None:
        fact = f"has no model card {card_path(weights).name} to write a temperature into"
        raise WeightsError(weights, fact, "give weights as dfcnet train writes them")
    name = task or next(iter(card.tasks), "")
    if name in (card.calibrations or {}) and not overwrite:
        fact = f"has a temperature of {name} already"
        raise OutputError(card_path(weights), fact, "give --overwrite to replace it")
    return card


def calibrated_card(card: ModelCard, found: CalibrationFile) -> ModelCard:
    """Return a card with what was found beside what it has of other tasks."""
    entry = Calibration(
        temperature=found.temperature,
        scales=found.scales,
        flip=found.flip,
        scenes=len(found.scenes),
        ece_before=found.before.ece,
        ece_after=found.after.ece,
    )
    return card.model_copy(update={"calibrations": {**(card.calibrations or {}), found.task: entry}})


def read_calibration(path: Path) -> CalibrationFile:
    """Read what calibrate.py --json wrote; DataError where it cannot be read or is something else."""
    try:
        return CalibrationFile.model_validate_json(read_bytes(Path(path)))
    except ValidationError as error:
        fact = f"is not a calibration ({explain_error(error)[0]})"
        raise DataError(path, fact, "write it with dfcnet calibrate --json") from error
