"""The numbers that evaluate.py wrote, checked and made ready for tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError, create_model

from common.datasets import Dataset
from common.errors import DataError
from common.settings import explain_error
from evaluation.evaluation import confusion_of
from evaluation.metrics import BY_CLASS, MAIN, METRICS, OVERALL, Metric
from evaluation.score_files import scene_numbers
from evaluation.score_text import between, percent
from inference.scene_files import MaskPair

WHITE_FROM = 0.745  # the cell's colour (--cell in report.css) is so dark there that white reads better
Bounds = tuple[float, float] | None
Score = float | None  # None: undefined


class _Resampling(BaseModel):
    """How bounds were drawn."""

    level: float
    resamples: int
    seed: int


def _with_scores(base: type[BaseModel], value: type, metrics: Sequence[Metric] = METRICS) -> type[BaseModel]:
    """Return a model with a field more for each metric, of `value` or by class of it."""
    kinds = {metric.key: dict[str, value] if metric.by_class else value for metric in metrics}
    fields = {key: (kind, ...) for key, kind in kinds.items()}
    return create_model(base.__name__.strip("_"), __base__=base, __doc__=base.__doc__, **fields)


Intervals = _with_scores(_Resampling, Bounds)


class Confusion(BaseModel):
    """Pixels by true and predicted class."""

    rows_truth: list[str]
    columns_predicted: list[str]
    pixels: list[list[int]]


class _Scene(BaseModel):
    """A scene's own scores."""

    scored_pixels: int


Scene = _with_scores(_Scene, Score, OVERALL)


class _ScoreFile(BaseModel):
    """A JSON of evaluate.py for one folder of predictions; shares from 0 to 1."""

    dataset: str
    scenes: list[str]
    trained: list[str] = []  # of the scenes, by the maps' manifests; files of version 1.0 do not say
    weights: list[str] = []  # of the maps, by their manifests; files of version 1.0 do not say
    scored_pixels: int
    truth_share: dict[str, float]
    absent: list[str]
    intervals: Intervals | None
    always_commonest: dict[str, str | float | None]
    confusion: Confusion
    by_scene: dict[str, Scene]


ScoreFile = _with_scores(_ScoreFile, Score)


def read_scores(path: Path) -> ScoreFile:
    """Read a score file; DataError where it is missing, broken, of several predictions or too old."""
    try:
        return ScoreFile.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise DataError(
            path, f"cannot be read ({error.strerror})", "write it with dfcnet evaluate --json"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]["input"]
        several = isinstance(first, dict) and "maps" in first
        fact = (
            "holds scores of several folders" if several else f"holds no scores ({explain_error(error)[0]})"
        )
        remedy = "write it again with dfcnet evaluate --json, with one --pred folder"
        raise DataError(path, fact, remedy) from error


def check_maps(scores: ScoreFile, path: Path, pairs: Iterable[MaskPair], dataset: Dataset) -> None:
    """Raise DataError where the scores in the file `path` are not those of the maps in `pairs`."""
    for pair in pairs:
        remedy = "score the folders of --truth and --pred again with dfcnet evaluate"
        if scores.by_scene[pair.id] != Scene(**scene_numbers(confusion_of(pair, dataset))):
            raise DataError(path, f"holds other scores than those of {pair.predicted}", remedy)


@dataclass(frozen=True)
class Headline:
    """A score over all classes, in percent."""

    name: str
    value: str
    interval: str


def headlines(scores: ScoreFile) -> list[Headline]:
    """Return the scores over all classes."""
    bounds = scores.intervals
    return [
        Headline(
            metric.title[0].upper() + metric.title[1:] if metric is not MAIN else metric.title,
            percent(getattr(scores, metric.key)),
            between(getattr(bounds, metric.key) if bounds else None),
        )
        for metric in OVERALL
    ]


@dataclass(frozen=True)
class ClassRow:
    """A class's scores in percent: the first with its interval, and from 0 to 1 as `share`, for a bar."""

    name: str
    colour: str
    first: str
    interval: str
    others: list[str]
    share: float


def class_heads() -> list[str]:
    """Return the heads of a class's scores: the first's, its interval's, and those of the others."""
    first, *others = BY_CLASS
    return [first.title, "interval", *(metric.title for metric in others), "truth"]


def class_rows(scores: ScoreFile, colours: dict[str, str]) -> list[ClassRow]:
    """Return a row per class: its scores, the first with its interval, and its share of the truth."""
    rows = []
    first, *others = BY_CLASS
    for name, share in getattr(scores, first.key).items():
        values = [getattr(scores, metric.key)[name] for metric in others] + [scores.truth_share[name]]
        bounds = getattr(scores.intervals, first.key)[name] if scores.intervals else None
        shown = "absent" if name in scores.absent else percent(share)
        cells = [percent(value) for value in values]
        rows.append(ClassRow(name, colours[name], shown, between(bounds), cells, share or 0.0))
    return rows


@dataclass(frozen=True)
class Cell:
    """A share of a true class given to one class: text in percent, the share, whether its cell is dark."""

    text: str
    share: float
    dark: bool


def matrix_rows(scores: ScoreFile) -> tuple[list[str], list[tuple[str, str, list[Cell]]]]:
    """Return the predicted classes, and for each true one its name, its pixels and its cells."""
    confusion = scores.confusion
    unknown = any(row[-1] for row in confusion.pixels)
    columns = confusion.columns_predicted if unknown else confusion.columns_predicted[:-1]
    rows = []
    for name, pixels in zip(confusion.rows_truth, confusion.pixels, strict=True):
        total = sum(pixels)
        shares = [count / total if total else None for count in pixels[: len(columns)]]
        cells = [Cell(percent(share), share or 0.0, (share or 0.0) >= WHITE_FROM) for share in shares]
        rows.append((name, f"{total:,}", cells))
    return columns, rows
