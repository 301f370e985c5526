"""The page put together: templates of HTML, with styles and script inside."""

from dataclasses import dataclass
from pathlib import Path

from common.datasets import Dataset
from common.errors import DataError
from common.files import short_checksum, write_text
from common.numbers import plural
from common.templates import TEMPLATES, templates
from evaluation.calibration_files import read_calibration
from evaluation.figures import legend
from evaluation.intervals import few_scenes
from evaluation.metrics import OVERALL
from evaluation.page.areas import area_parts, read_areas
from evaluation.page.charts import charts, reliability_chart
from evaluation.page.deviations import COLUMNS, pieces, read_deviations
from evaluation.page.run_facts import facts, read_run
from evaluation.page.scenes import MappedClass, ScenePictures, mapped_classes, pictures
from evaluation.page.scores import (
    ScoreFile,
    check_maps,
    class_heads,
    class_rows,
    headlines,
    matrix_rows,
    read_scores,
)
from evaluation.score_text import percent
from inference.scene_files import MaskPair, find_maps, find_true_masks
from prototxt_gen.experiment import Experiment
from training.curves import read_log
from training.run import Run

PAPERS_DATA = {"deepglobe_land", "deepglobe_road"}
STYLES, SCRIPT = ("report.css", "report_parts.css"), "report.js"


@dataclass(frozen=True)
class SceneFolders:
    """Where the scenes of a page stand: images, true masks, if there are any, and predicted masks."""

    images: Path
    truth: Path | None
    predicted: Path


def write_report(
    folder: Path,
    out: Path,
    scores: Path | None = None,
    scenes: SceneFolders | None = None,
    count: int = 6,
    overwrite: bool = False,
    dataset: Dataset | None = None,
    areas: Path | None = None,
    calibration: Path | None = None,
) -> None:
    """Write the page of the run in `folder` into the file `out`.

    `scores` is a JSON of evaluate.py, `areas` one of area.py, `calibration` one of calibrate.py; `scenes` are
    where `count` scenes are taken from; `dataset` is that of their true masks (None: that of the run's main
    task). What is not given is left out, and of scores and scenes the page says how to make them. Raises
    DataError for what cannot be read.
    """
    write_text(out, page(folder, scores, scenes, count, dataset, areas, calibration), overwrite)


def page(
    folder: Path,
    scores: Path | None,
    scenes: SceneFolders | None,
    count: int,
    dataset: Dataset | None = None,
    areas: Path | None = None,
    calibration: Path | None = None,
) -> str:
    """Return the page as HTML, see `write_report`."""
    run = read_run(folder)
    measured = read_scores(scores) if scores else None
    learnt = [task.dataset for task in run.experiment.tasks.values()]
    scored = (known for known in learnt if measured and measured.dataset == known.name)
    dataset = dataset or next(scored, learnt[0])
    if measured and list(measured.iou) != list(dataset.class_names):
        fact = (
            f"has the classes {', '.join(measured.iou)}, {dataset.name} has {', '.join(dataset.class_names)}"
        )
        raise DataError(scores, fact, "score maps of this data set, or name the right one by --dataset")
    drawn = charts(read_log(run.folder))
    shown = _pictures(scenes, dataset, count, measured, scores) if scenes else []
    return (
        templates("report")
        .get_template("report.html.j2")
        .render(
            name=run.experiment.name,
            style=style(),
            script=_asset(SCRIPT),
            facts=facts(run),
            charts=drawn,
            task=dataset.title,
            legend=_legend(dataset),
            mapped=_mapped(scenes, dataset, measured) if scenes else [],
            pictures=[(picture, _caption(measured, picture.id)) for picture in shown],
            columns=COLUMNS,
            deviations=_deviations(run.experiment),
            scores=measured and _score_parts(measured, dataset) | {"other": _other_weights(measured, run)},
            areas=areas and area_parts(read_areas(areas, dataset), dict(_legend(dataset))),
            reliability=calibration and _reliability(calibration, run),
        )
    )


def _deviations(exp: Experiment) -> list[list]:
    """Return the rows of the table where an experiment has the paper's data, none for others."""
    if not PAPERS_DATA.issuperset(task.dataset.name for task in exp.tasks.values()):
        return []
    return [list(map(pieces, row)) for row in read_deviations()]


def _pictures(
    scenes: SceneFolders, dataset: Dataset, count: int, measured: ScoreFile | None, path: Path | None
) -> list[ScenePictures]:
    """Return the scenes to show: of those scored, if there are scores, which must be these maps'."""
    if measured and scenes.truth is None:
        raise DataError("--truth", "is missing", "give it with --scores, which are compared with the maps'")
    folders = (scenes.images, scenes.truth, scenes.predicted)
    shown = pictures(*folders, dataset, count, measured and measured.by_scene)
    if measured:
        true, mapped = find_true_masks(scenes.truth, dataset), find_maps(scenes.predicted)
        pairs = (MaskPair(scene.id, true[scene.id], mapped[scene.id]) for scene in shown)
        check_maps(measured, path, pairs, dataset)
    return shown


def _mapped(
    scenes: SceneFolders, dataset: Dataset, measured: ScoreFile | None
) -> list[tuple[str, MappedClass]]:
    """Return (colour, how much is mapped) of each class: in the maps that were scored, or in all."""
    maps = {
        id: path for id, path in find_maps(scenes.predicted).items() if not measured or id in measured.scenes
    }
    colours = dict(_legend(dataset))
    return [(colours[each.name], each) for each in mapped_classes(maps, dataset)]


def _score_parts(scores: ScoreFile, dataset: Dataset) -> dict:
    columns, rows = matrix_rows(scores)
    always, bounds = scores.always_commonest, scores.intervals
    return {
        "scenes": plural(len(scores.scenes), "scene"),
        "pixels": f"{scores.scored_pixels:,}",
        "headlines": headlines(scores),
        "always": f"Always {always['class']}: {percent(always['miou'])} % mIoU.",
        "bounds": bounds
        and f"{100 * bounds.level:g} % intervals over scenes, {bounds.resamples:,} bootstrap resamples, "
        f"seed {bounds.seed}.{f' {few.capitalize()}.' if (few := few_scenes(len(scores.scenes))) else ''}",
        "absent": ", ".join(scores.absent),
        "classes": class_rows(scores, dict(_legend(dataset))),
        "class_heads": class_heads(),
        "columns": columns,
        "rows": rows,
    }


def _other_weights(scores: ScoreFile, run: Run) -> str:
    """Return what the page says of maps that are not of the run's final weights: nothing if they are."""
    if not scores.weights or scores.weights == [run.weights.exists() and short_checksum(run.weights)]:
        return ""
    return f"These are maps of other weights than the run's: SHA-256 {', '.join(scores.weights)}."


def _reliability(path: Path, run: Run) -> dict:
    found = read_calibration(path)
    if found.weights != short_checksum(run.weights):
        fact = f"is of other weights ({found.weights}) than {run.weights.name} of {run.folder}"
        raise DataError(path, fact, "calibrate the run's weights")
    scenes = f"{found.task}, {plural(len(found.scenes), 'scene')}"
    return {
        "scenes": scenes,
        "temperature": f"{found.temperature:.3f}",
        "chart": reliability_chart(found),
    }


def _caption(scores: ScoreFile | None, id: str) -> str:
    scene = scores.by_scene.get(id) if scores else None
    return ", ".join(f"{m.short} {percent(getattr(scene, m.key))} %" for m in OVERALL[:2]) if scene else ""


def _legend(dataset: Dataset) -> list[tuple[str, str]]:
    """Return (name, #rrggbb) of each class, and of what is ignored where there is a colour for it."""
    return [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in legend(dataset)]


def style() -> str:
    """Return the styles that pages share."""
    return "".join(_asset(name) for name in STYLES)


def _asset(name: str) -> str:
    return (TEMPLATES / "report" / name).read_text(encoding="utf-8")
