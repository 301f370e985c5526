"""The areas that area.py wrote, checked and made ready for a table."""

from pathlib import Path

from pydantic import ValidationError

from common.datasets import Dataset
from common.errors import DataError
from common.files import read_bytes
from common.numbers import plural
from common.settings import StrictModel, explain_error
from evaluation.score_text import between

HEADS = [
    "class",
    "mapped ha",
    "estimated ha",
    "interval",
    *["user's %", "interval"],
    *["producer's %", "interval"],
]


class EstimatedValue(StrictModel):
    """A number with its standard error and its 95 % interval; None where it is undefined."""

    value: float | None
    standard_error: float | None
    interval: tuple[float | None, float | None]


class ErrorMatrix(StrictModel):
    """Points, and estimated shares of the area, by the map's class and the true one."""

    rows_map: tuple[str, ...]
    columns_reference: tuple[str, ...]
    points: tuple[tuple[int, ...], ...]
    area_shares: tuple[tuple[float, ...], ...]


class AreaFile(StrictModel):
    """A JSON of area.py."""

    dataset: str
    seed: int
    maps: tuple[str, ...]
    points: int
    missing: int
    level: float
    total_hectares: float
    mapped_hectares: dict[str, float]
    hectares: dict[str, EstimatedValue]
    overall_accuracy: EstimatedValue
    users_accuracy: dict[str, EstimatedValue]
    producers_accuracy: dict[str, EstimatedValue]
    error_matrix: ErrorMatrix


def read_areas(path: Path, dataset: Dataset) -> AreaFile:
    """Read what area.py --json wrote; DataError where it cannot be read or is of other classes."""
    try:
        found = AreaFile.model_validate_json(read_bytes(Path(path)))
    except ValidationError as error:
        fact = f"holds no areas ({explain_error(error)[0]})"
        raise DataError(path, fact, "write it with dfcnet area --json") from error
    if tuple(found.hectares) != dataset.class_names:
        fact = f"has the classes {', '.join(found.hectares)}, the run {', '.join(dataset.class_names)}"
        raise DataError(path, fact, "give the areas of this run's maps")
    return found


def area_parts(found: AreaFile, colours: dict[str, str]) -> dict:
    """Return what the page shows of it."""
    return {
        "maps": plural(len(found.maps), "map"),
        "total": f"{found.total_hectares:,.2f}",
        "points": plural(found.points, "point"),
        "missing": found.missing and plural(found.missing, "point"),
        "overall": "{} % ({})".format(*_share(found.overall_accuracy)),
        "heads": HEADS,
        "rows": [(name, colours[name], _cells(found, name)) for name in found.hectares],
    }


def _cells(found: AreaFile, name: str) -> list[str]:
    area = found.hectares[name]
    bounds = " to ".join(f"{bound:,.2f}" for bound in area.interval)
    cells = [f"{found.mapped_hectares[name]:,.2f}", f"{area.value:,.2f}", bounds]
    return cells + _share(found.users_accuracy[name]) + _share(found.producers_accuracy[name])


def _share(estimated: EstimatedValue) -> list[str]:
    """Return a share in percent, and its interval; dashes where it is undefined."""
    if estimated.value is None:
        return ["-", "-"]
    return [f"{100 * estimated.value:.1f}", between(estimated.interval)]
