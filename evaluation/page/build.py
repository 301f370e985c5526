"""The page put together: templates of HTML, with styles and script inside."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2

from common.errors import DataError
from common.files import write_text
from data_prep.classes import TASKS, Task
from data_prep.label_values import read_label_values
from evaluation.page.curves import charts
from evaluation.page.deviations import read_deviations
from evaluation.page.scenes import Picture, pictures
from evaluation.page.scores import ScoreFile, check_maps, class_rows, headlines, matrix_rows, read_scores
from evaluation.page.trained import facts, read_run
from evaluation.score_text import percent
from inference.folders import MaskPair, find_masks
from training.curves import read_log

TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "report"
STYLES, SCRIPT = ("report.css", "report_parts.css"), "report.js"


@dataclass(frozen=True)
class Folders:
    """Where the scenes of a page stand: images, true masks and predicted masks.

    `mapping` is a file that says which class each number in a true GeoTIFF mask is.
    """

    images: Path
    truth: Path
    predicted: Path
    mapping: Path | None = None


@cache
def templates() -> jinja2.Environment:
    """Return the templates of pages, which escape what they are given."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )


def write_report(
    folder: Path,
    out: Path,
    scores: Path | None = None,
    scenes: Folders | None = None,
    count: int = 6,
    overwrite: bool = False,
) -> None:
    """Write the page of the run in `folder` into the file `out`.

    `scores` is a JSON of evaluate.py; `scenes` are where `count` scenes are taken from. What is not
    given is left out, and the page says how to make it. Raises DataError for what cannot be read.
    """
    write_text(out, page(folder, scores, scenes, count), overwrite)


def page(folder: Path, scores: Path | None, scenes: Folders | None, count: int) -> str:
    """Return the page as HTML, see `write_report`."""
    run = read_run(folder)
    measured = read_scores(scores) if scores else None
    task = TASKS[measured.task if measured else run.experiment.task_names()[0]]
    if measured and list(measured.iou) != list(task.classes):
        fact = f"has the classes {', '.join(measured.iou)}"
        raise DataError(scores, fact, f"score {task.name} again with this version's evaluate.py")
    drawn = charts(read_log(run.folder))
    shown = _pictures(scenes, task, count, measured, scores) if scenes else []
    head, deviations = read_deviations()
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            name=run.experiment.name,
            style=style(),
            script=_asset(SCRIPT),
            facts=facts(run),
            charts=drawn,
            task=task.name,
            legend=_legend(task),
            pictures=[(picture, _caption(measured, picture.id)) for picture in shown],
            head=head,
            deviations=deviations,
            scores=measured and _score_parts(measured, task),
        )
    )


def _pictures(
    scenes: Folders, task: Task, count: int, measured: ScoreFile | None, path: Path | None
) -> list[Picture]:
    """Return the scenes to show: of those scored, if there are scores, which must be these maps'."""
    values = read_label_values(scenes.mapping, task) if scenes.mapping else None
    folders = (scenes.images, scenes.truth, scenes.predicted)
    shown = pictures(*folders, task, count, values, measured and measured.by_scene)
    if measured:
        true, mapped = find_masks(scenes.truth), find_masks(scenes.predicted)
        pairs = (MaskPair(each.id, true[each.id], mapped[each.id]) for each in shown)
        check_maps(measured, path, pairs, task, values)
    return shown


def _score_parts(scores: ScoreFile, task: Task) -> dict:
    columns, rows = matrix_rows(scores)
    always, bounds = scores.always_commonest, scores.intervals
    return {
        "scenes": "1 scene" if len(scores.scenes) == 1 else f"{len(scores.scenes):,} scenes",
        "pixels": f"{scores.scored_pixels:,}",
        "headlines": headlines(scores),
        "always": f"Always {always['class']}: {percent(always['miou'])} % mIoU.",
        "bounds": bounds
        and f"{100 * bounds.level:g} % intervals over scenes, {bounds.resamples:,} bootstrap resamples, "
        f"seed {bounds.seed}.",
        "absent": ", ".join(scores.absent),
        "classes": class_rows(scores, dict(_legend(task))),
        "columns": columns,
        "rows": rows,
    }


def _caption(scores: ScoreFile | None, id: str) -> str:
    scene = scores.by_scene.get(id) if scores else None
    return f"mIoU {percent(scene.miou)} %, accuracy {percent(scene.accuracy)} %" if scene else ""


def _legend(task: Task) -> list[tuple[str, str]]:
    """Return (name, #rrggbb) of each class, and of unknown where there is a colour for it."""
    entries = [*zip(task.classes, task.palette, strict=True)]
    if task.unknown is not None:
        entries.append(("unknown", task.unknown))
    return [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in entries]


def style() -> str:
    """Return the styles that pages share."""
    return "".join(_asset(name) for name in STYLES)


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
