"""Curves of training runs from their logs: loss per task, learning rate, mIoU of the validation."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from common.errors import DataError
from common.files import staged_file

Curve = dict[int, float]  # iteration -> value


def read_log(path: Path) -> dict[str, Curve]:
    """Return name -> curve of a run's log.jsonl (or of the run's folder): "land loss", "land mIoU", "lr".

    Where a run was resumed from an earlier iteration, the later lines count. A last line that was cut off
    is left out. Raises DataError for a file that is not such a log.
    """
    path = Path(path) / "log.jsonl" if Path(path).is_dir() else Path(path)
    remedy = "give a log that dfcnet train wrote"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", "give a run's folder or log") from error
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 text ({error})", remedy) from error
    curves: dict[str, Curve] = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                break
            raise DataError(path, f"line {number} is not JSON", remedy) from error
        try:
            start, iteration, values = _read_entry(entry)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise DataError(path, f"line {number} is not an entry of a run's log", remedy) from error
        if start is not None:
            curves = {name: {i: v for i, v in c.items() if i <= start} for name, c in curves.items()}
        for name, value in values.items():
            curves.setdefault(name, {})[iteration] = value
    if not curves:
        raise DataError(path, "holds no display step", "train for at least `display` iterations")
    return curves


def read_steps(log: Path) -> list[dict]:
    """Return the display steps of a log.jsonl that `read_log` can read, as ProgressLog wrote them."""
    steps = []
    for line in log.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # cut off at the end
            entry = json.loads(line)
            steps += [entry] if "loss" in entry else []
    return steps


def _read_entry(entry: dict) -> tuple[int | None, int | None, dict[str, float]]:
    """Return where a start begins, the iteration, and values by curve; None and no values where absent.

    What train.py does not write ends in a TypeError, ValueError, KeyError, AttributeError or OverflowError.
    """
    values = {f"{task} loss": value for task, value in entry.get("loss", {}).items()}
    values |= {"lr": entry["lr"]} if "lr" in entry else {}
    tasks = entry.get("validation", {}).get("tasks", {})
    mious = {f"{task} mIoU": scores["miou"] for task, scores in tasks.items()}
    values |= {name: miou for name, miou in mious.items() if miou is not None}
    numbers = {name: float(value) for name, value in values.items()}
    start = int(entry["start"]) if "start" in entry else None
    return start, int(entry["iteration"]) if values else None, numbers


def draw(runs: dict[str, dict[str, Curve]], out: Path, overwrite: bool) -> None:
    """Draw one panel per kind of curve (loss by task, mIoU by task, lr), one line per run."""
    from common.drawing import check_picture, drawn_with

    out = Path(out)
    check_picture(out, overwrite)
    with drawn_with({}), staged_file(out, overwrite) as staged:
        _figure(runs).savefig(staged, dpi=150)


def _figure(runs: dict[str, dict[str, Curve]]):
    from matplotlib.figure import Figure

    names = _panels(runs)
    figure = Figure(figsize=(8, 2.4 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)
    lines = {}  # of each run, in the same colour in all panels
    for axis, name in zip(axes[:, 0], names, strict=True):
        for number, (run, curves) in enumerate(runs.items()):
            if name in curves:
                points = sorted(curves[name].items())
                style = {"color": f"C{number}", "marker": "o" if len(points) < 30 else None}
                line = axis.plot(*zip(*points, strict=True), markersize=3, linewidth=1.2, **style)
                lines[run] = line[0]
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(lines.values(), lines, loc="outside upper center", ncols=min(len(lines), 3), frameon=False)
    axes[-1, 0].set_xlabel("iteration")
    return figure


def _panels(runs: dict[str, dict[str, Curve]]) -> Sequence[str]:
    kinds = ("loss", "mIoU", "lr")
    names = dict.fromkeys(name for curves in runs.values() for name in curves)
    return [name for kind in kinds for name in names if name.endswith(kind)]
