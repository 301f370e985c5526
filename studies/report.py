"""What a study leaves: numbers, tables, Figures 3 and 4, curves, and one page of all of it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.files import write_text
from common.templates import templates
from evaluation.comparison import choose_images, read_rows, scenes_to_show
from evaluation.feature_figure import draw_models
from evaluation.figures import compare
from evaluation.page.build import style
from studies.arms import ARMS
from studies.results import Results
from studies.runner import LOG, ONE_SCALE, StudyRunner, read_steps
from studies.tables import tables
from training.curves import Curve, draw, read_log

SCORES, TABLES, PAGE = "scores.json", "tables.md", "report.html"
FEATURE_ROWS, MAP_ROWS = 3, 5  # scenes of Figures 3 and 4
FIGURE_3, FIGURE_4 = ("baseline", "dfcnet"), ("baseline", "classmate", "dfcnet")  # the arms in them


@dataclass(frozen=True)
class StudyFigure:
    """A figure of the page: its name, what it shows, and the picture's file."""

    name: str
    caption: str
    path: Path

    @property
    def uri(self) -> str:
        """The picture inside a text."""
        return "data:image/png;base64," + base64.b64encode(self.path.read_bytes()).decode()


def write_tables(runner: StudyRunner, results: Results) -> list[Path]:
    """Write the scores as numbers and as Markdown into the study's folder; return the files."""
    texts = {
        SCORES: json.dumps(_numbers(results), indent=1) + "\n",
        TABLES: "\n\n".join(table.markdown() for table in tables(runner.study, results)) + "\n",
    }
    for name, text in texts.items():
        write_text(runner.out / name, text)
    return [runner.out / name for name in texts]


def draw_figures(runner: StudyRunner) -> list[StudyFigure]:
    """Draw the paper's Figures 3 and 4 and the curves into the study's folder."""
    return [_figure_3(runner), _figure_4(runner), _curves(runner)]


def write_page(runner: StudyRunner, results: Results, figures: Sequence[StudyFigure]) -> Path:
    """Write the page of all into the study's folder; return the file."""
    page = templates("report").get_template("study.html.j2")
    text = page.render(
        name=runner.study.name,
        title=runner.study.title,
        style=style(),
        facts=_facts(runner, results),
        arms=[ARMS[arm] for arm in runner.study.arms],
        tables=tables(runner.study, results),
        figures=figures,
    )
    write_text(runner.out / PAGE, text)
    return runner.out / PAGE


def _numbers(results: Results) -> dict:
    """Return the results for JSON: None for a class that neither truth nor maps have."""
    table = asdict(results)
    for row in table["rows"]:
        row["iou"] = {name: None if np.isnan(value) else value for name, value in row["iou"].items()}
    return table


def _facts(runner: StudyRunner, results: Results) -> list[tuple[str, str]]:
    study, exp = runner.study, runner.base
    equal = len(set(results.crops.values())) == 1
    scenes = []
    for task, task_scenes in study.scenes.items():
        test = f", {results.scenes} test" if task == runner.main else ""
        train = f"{len(runner.scenes.train[task])} train{test}"
        line = f"{', '.join(task_scenes.images)}: {train}; {task_scenes.variants} records a scene"
        scenes.append((f"Scenes of {task}", line))
    return [
        *scenes,
        ("Crop", f"{exp.input.crop} x {exp.input.crop} pixels"),
        ("Training", f"{exp.solver.max_iter:,} iterations, {exp.solver.type}, lr {exp.solver.base_lr:g}"),
        ("Seeds", ", ".join(map(str, study.seeds))),
        (f"Crops of {runner.main} seen", "equal in all arms" if equal else "not equal: see Table 1"),
        *time_spent(runner.out / LOG),
    ]


def time_spent(log: Path) -> list[tuple[str, str]]:
    """Return on what the trainings of a study's log ran, and the hours of all steps that it has."""
    steps = read_steps(log)
    gpus = sorted({step["gpus"] for step in steps if "gpus" in step})
    devices = ["the CPU" if count == 0 else f"{count} GPU(s)" for count in gpus]
    hours = sum(step["seconds"] for step in steps) / 3600
    trained = [("Trained on", " and ".join(devices))] if devices else []
    return [*trained, ("Time of the steps", f"{hours:.1f} hours")]


def _shown(runner: StudyRunner, arms: Sequence[str]) -> list[str]:
    """Return the arms of a figure, as far as the study has them, or its first."""
    return [arm for arm in runner.study.arms if arm in arms] or [runner.study.arms[0]]


def _scenes(runner: StudyRunner, arms: Sequence[str], count: int) -> tuple[list[Path], list[str]]:
    """Return the folders of the arms' maps of the first seed, and `count` of their scenes."""
    folders = [runner.maps(arm, ONE_SCALE, runner.study.seeds[0]) for arm in arms]
    return folders, scenes_to_show(runner.tested, runner.tested, folders, runner.dataset, None, count)


def _figure_3(runner: StudyRunner) -> StudyFigure:
    seed, out = runner.study.seeds[0], runner.out / "figure3.png"
    arms = _shown(runner, FIGURE_3)
    _, ids = _scenes(runner, arms, FEATURE_ROWS)
    runs = {ARMS[arm].title: runner.training(arm, seed) for arm in arms}
    draw_models(
        {title: (run.deploy, run.weights) for title, run in runs.items()},
        choose_images(runner.tested, runner.dataset, ids, FEATURE_ROWS),
        out,
        task=runner.main,
        side=runner.study.test.tile,
        overwrite=True,
        warn=runner.log,
    )
    columns = "mean magnitude and the two channels that vary most"
    caption = f"Deepest features of equal resolution, seed {seed}: {columns}."
    return StudyFigure("Figure 3", caption, out)


def _figure_4(runner: StudyRunner) -> StudyFigure:
    seed, out = runner.study.seeds[0], runner.out / "figure4.png"
    arms = _shown(runner, FIGURE_4)
    folders, ids = _scenes(runner, arms, MAP_ROWS)
    rows = list(read_rows(runner.tested, runner.tested, folders, ids, runner.dataset))
    compare(rows, [ARMS[arm].title for arm in arms], runner.dataset, out, overwrite=True)
    caption = f"Held-out scenes, spread evenly over their ids, with truth and maps at one scale, seed {seed}."
    return StudyFigure("Figure 4", caption, out)


def _curves(runner: StudyRunner) -> StudyFigure:
    out = runner.out / "curves.png"
    runs = {ARMS[arm].title: _mean_losses(runner, arm) for arm in runner.study.arms}
    draw(runs, out, overwrite=True)
    return StudyFigure("Curves", "Training losses, mean over seeds.", out)


def _mean_losses(runner: StudyRunner, arm: str) -> dict[str, Curve]:
    """Return the mean over seeds of each loss, where all seeds have a value."""
    logs = [read_log(runner.training(arm, seed).log) for seed in runner.study.seeds]
    mean = {}
    for name in (name for name in logs[0] if name.endswith("loss")):
        common = set.intersection(*(set(log[name]) for log in logs))
        mean[name] = {at: float(np.mean([log[name][at] for log in logs])) for at in sorted(common)}
    return mean
