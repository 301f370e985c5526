"""A search for a better training: trials of settings, scored on development scenes, the best ones longer.

Successive halving (Jamieson and Talwalkar, AISTATS 2016): every trial is trained for the first round's
iterations, and only the best go on to the next round, from the beginning and longer. Each arm takes part in
the same trials and chooses its own best, so that none is tuned more than another.
"""

import csv
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from common.errors import DataError
from common.files import read_bytes, write_text
from common.settings import Count, StrictModel, read_toml, validated
from evaluation.score_text import percent
from prototxt_gen.emit import Command
from studies.plan import Study, base_experiment, experiment_of
from studies.results import measure
from studies.runner import LOG, ONE_SCALE, OWN_STATISTICS, StudyRunner, read_steps

TRIALS = "trials.csv"  # the log of a search: a line for each trial and arm of a round
KEYS = ("iterations", "trial", "arm")  # of a line
SCORE = "mIoU %"


class Trial(StrictModel):
    """One setting that is tried: what it changes of the search's own."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    set: tuple[str, ...] = Field(default=(), strict=False)  # after the search's own
    scenes: dict[str, dict[str, Any]] = Field(default_factory=dict)  # keys of [scenes.TASK] that it replaces

    def settings(self) -> str:
        """Return the changes in a line."""
        cut = (f"{task}.{key}={value}" for task, keys in self.scenes.items() for key, value in keys.items())
        return "; ".join([*cut, *self.set])


class Round(StrictModel):
    """One round: how long its trials are trained, and how many of each arm take part."""

    iterations: Count
    best: Count | None = None  # so many trials, the best of the round before; in the first round all


class Search(Study):
    """One search file: a study's keys, and trials and rounds."""

    EXAMPLE: ClassVar[str] = "studies/search.toml"
    rounds: tuple[Round, ...] = Field(strict=False, min_length=1)
    trials: tuple[Trial, ...] = Field(strict=False, min_length=1)

    @model_validator(mode="after")
    def _rounds_become_longer_and_smaller(self) -> Self:
        names = [trial.name for trial in self.trials]
        if twice := next((name for at, name in enumerate(names) if name in names[:at]), None):
            raise ValueError(f"trials names {twice} twice; give each a name of its own")
        if any(before.iterations >= after.iterations for before, after in pairwise(self.rounds)):
            raise ValueError("rounds do not become longer; give rising iterations")
        first, *others = (each.best for each in self.rounds)
        if first is not None or None in others:
            raise ValueError("rounds: all trials take part in the first; give best to the others alone")
        if any(before <= after for before, after in pairwise([len(names), *others])):
            raise ValueError(f"rounds take {others} of {len(names)} trials; give fewer to each")
        return self

    def study(self, trial: Trial, iterations: int, arms: Sequence[str]) -> Study:
        """Return a trial as a study; ExperimentError where its changes make none."""
        table = self.model_dump(exclude={"name", "rounds", "trials"}, exclude_none=True)
        for task, keys in trial.scenes.items():
            table["scenes"][task] = table["scenes"].get(task, {}) | keys
        table["arms"] = tuple(arms)
        table["set"] = (*self.set, *trial.set, f"solver.max_iter={iterations}")
        return validated(Study, table, trial.name, f"trial {trial.name} of {self.name}")


def read_search(path: Path) -> Search:
    """Read a search file; ExperimentError with key and remedy, of any of its trials too."""
    path = Path(path)
    search = validated(Search, read_toml(path, "a search"), path.stem, path)
    for trial in search.trials:
        study = search.study(trial, search.rounds[0].iterations, search.arms)
        base = base_experiment(study, path)
        for arm in study.arms:
            experiment_of(study, base, arm, 0, Path())
    return search


@dataclass(frozen=True)
class SearchRunner:
    """A search of the file `path` in its folder `out`; the others are those of each trial's StudyRunner."""

    search: Search
    path: Path
    root: Path
    out: Path
    gpus: Sequence[int] = ()
    command: Command | None = None
    log: Callable[[str], None] = print

    def run(self) -> int:
        """Try all that has not been tried; return 0, or 128 + a signal's number as StudyRunner.run."""
        chosen = {arm: [trial.name for trial in self.search.trials] for arm in self.search.arms}
        before = None
        for each in self.search.rounds:
            if each.best:
                chosen = {arm: self._best(arm, names, before, each.best) for arm, names in chosen.items()}
            for trial in self.search.trials:
                arms = [arm for arm in self.search.arms if trial.name in chosen[arm]]
                if arms and (code := self._try(trial, each.iterations, arms)):
                    return code
            before = each
        return 0

    @property
    def trials(self) -> Path:
        """The log."""
        return self.out / TRIALS

    def _try(self, trial: Trial, iterations: int, arms: Sequence[str]) -> int:
        study = self.search.study(trial, iterations, arms)
        folder = self.out / f"{iterations}" / trial.name
        base = base_experiment(study, self.path)
        runner = StudyRunner(study, base, self.root, folder, self.gpus, self.command, self.log)
        self.log(f"== {iterations} iterations, trial {trial.name}, {' and '.join(arms)}")
        if code := runner.run():
            return code
        shutil.rmtree(runner.data, ignore_errors=True)  # of the size of all trials together
        rows = read_trials(self.trials)
        known = {tuple(row[key] for key in KEYS) for row in rows}
        made = [row for row in trial_rows(trial, runner) if tuple(row[key] for key in KEYS) not in known]
        if made:
            write_trials(self.trials, [*rows, *made])
        return 0

    def _best(self, arm: str, names: Sequence[str], before: Round, count: int) -> list[str]:
        """Return the `count` trials of the highest mIoU of an arm in the round before."""
        scored = {
            row["trial"]: float(row[SCORE])
            for row in read_trials(self.trials)
            if (row["iterations"], row["arm"]) == (f"{before.iterations}", arm)
        }
        return sorted(names, key=lambda name: scored[name], reverse=True)[:count]


def trial_rows(trial: Trial, runner: StudyRunner) -> list[dict[str, str]]:
    """Return the lines of the log on a trial that has been carried out, one for each arm."""
    results = measure(runner)
    own = {row.arm: percent(row.mean) for row in results.of(OWN_STATISTICS)}
    return [
        {
            "iterations": f"{runner.base.solver.max_iter}",
            "trial": trial.name,
            "arm": row.arm,
            "settings": trial.settings(),
            "parameters": f"{results.parameters[row.arm]}",
            SCORE: percent(row.mean),
            **({"own statistics %": own[row.arm]} if own else {}),
            **{f"{name} %": percent(iou) for name, iou in row.iou.items()},
            "CPU minutes": f"{_training_seconds(runner.out / LOG, row.arm) / 60:.1f}",
        }
        for row in results.of(ONE_SCALE)
    ]


def _training_seconds(log: Path, arm: str) -> float:
    """Return the processor time of an arm's trainings, without what was lost where a call was killed."""
    return sum(step["cpu_seconds"] for step in read_steps(log) if step["what"].startswith(f"train {arm} "))


def read_trials(path: Path) -> list[dict[str, str]]:
    """Return the lines of a search's log, none where there is no log yet; DataError where it is not one."""
    if not path.exists():
        return []
    remedy = "remove it: trials that are done are kept"
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path).decode())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(path, f"cannot be read ({error})", remedy) from error
    if rows and not {*KEYS, SCORE} <= rows[0].keys():
        raise DataError(path, "is not the log of a search", remedy)
    return rows


def write_trials(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write the log of a search, replacing what was there."""
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue(), overwrite=True)
