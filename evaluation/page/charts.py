"""Curves as the geometry of small charts: points, ticks and names, for an SVG in the page's colours."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from matplotlib.ticker import MaxNLocator

from evaluation.calibration_files import CalibrationFile
from evaluation.score_text import percent
from training.curves import Curve

WIDTH, HEIGHT = 380, 160
LEFT, RIGHT, TOP, BOTTOM = 44, 18, 10, 26
MAX_POINTS = 380  # of a curve: more than the pixels tell apart
KINDS = {"loss": "Loss", "mIoU": "Validation mIoU", "lr": "Learning rate"}


@dataclass(frozen=True)
class Line:
    """A curve: its name, points as SVG takes them, and last value as text."""

    name: str
    points: str
    last: str


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, in SVG units, and its text."""

    at: float
    text: str


@dataclass
class Chart:
    """One chart, WIDTH x HEIGHT SVG units; `values` says what stands beside the lines' names."""

    title: str
    values: str = "over iterations; last values"
    lines: list[Line] = field(default_factory=list)
    across: list[Tick] = field(default_factory=list)
    up: list[Tick] = field(default_factory=list)

    width, height, left, top = WIDTH, HEIGHT, LEFT, TOP
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM


def charts(curves: Mapping[str, Curve]) -> list[Chart]:
    """Return a chart per kind of curve: losses of the tasks together, mIoUs together, learning rate."""
    drawn = []
    for kind, title in KINDS.items():
        of_kind = {
            name.removesuffix(kind).strip() or kind: c for name, c in curves.items() if name.endswith(kind)
        }
        if of_kind:
            drawn.append(_chart(title, of_kind))
    return drawn


def reliability_chart(calibration: CalibrationFile) -> Chart:
    """Return the accuracy over the confidence, before and after calibration, each with its ECE."""
    parts = {"before": calibration.before, "after": calibration.after}
    curves = {name: bins.curve() for name, bins in parts.items()}
    chart = _chart("Accuracy by confidence", {**curves, "ideal": {0.0: 0.0, 1.0: 1.0}})
    chart.values = "in 15 bins; expected calibration error"
    eces = [f"{percent(bins.ece)} %" for bins in parts.values()]
    chart.lines = [replace(line, last=ece) for line, ece in zip(chart.lines, [*eces, ""], strict=True)]
    return chart


def _chart(title: str, curves: Mapping[str, Curve | dict[float, float]]) -> Chart:
    last = max(max(curve) for curve in curves.values())
    across, up = _ticks(last), _ticks(max(max(curve.values()) for curve in curves.values()))
    chart = Chart(title)
    wide, high = across[-1] or 1, up[-1] or 1

    def x(iteration: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * iteration / wide, 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / high, 1)

    chart.across = [Tick(x(value), f"{value:,.10g}") for value in across]
    chart.up = [Tick(y(value), f"{value:.10g}") for value in up]
    for name, curve in curves.items():
        points = " ".join(f"{x(at)},{y(value)}" for at, value in _thinned(sorted(curve.items())))
        chart.lines.append(Line(name, points, f"{curve[max(curve)]:.4g}"))
    return chart


def _ticks(maximum: float) -> list[float]:
    """Return round numbers from 0 to at least `maximum`."""
    return [float(f"{value:.10g}") for value in MaxNLocator(5).tick_values(0, maximum or 1)]


def _thinned(points: list) -> list:
    """Return at most MAX_POINTS of the points, the first and the last among them."""
    if len(points) <= MAX_POINTS:
        return points
    return [points[i * (len(points) - 1) // (MAX_POINTS - 1)] for i in range(MAX_POINTS)]
