"""A study's maps to numbers: mIoU with its spread over seeds and its interval over scenes, and leads.

Two kinds of chance are told apart. The spread over seeds says how much a training's own dice move a score,
the bootstrap over scenes how much the choice of test scenes does. A lead's interval draws both anew.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from data_prep.classes import TASKS
from inference.bootstrap import Resampling
from inference.evaluation import Evaluation, evaluate
from inference.folders import pair_masks
from prototxt_gen.models import TRAIN, build
from studies.arms import land_samples
from studies.conduct import ENSEMBLE, Conduct

LAND = TASKS["land"]
Bounds = tuple[float, float] | None


@dataclass(frozen=True)
class Row:
    """One arm tested in one way; shares from 0 to 1, one of `mious` per seed (of an ensemble: one).

    `interval` is that of the mean over seeds, over scenes; `lead` is the mean mIoU less the first arm's,
    tested in the same way, `lead_interval` that over scenes and seeds. `iou` is the mean over seeds by class.
    """

    arm: str
    how: str
    mious: tuple[float, ...]
    interval: Bounds
    lead: float | None
    lead_interval: Bounds
    iou: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean mIoU over seeds."""
        return float(np.mean(self.mious))

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds (n - 1), None for a single one."""
        return float(np.std(self.mious, ddof=1)) if len(self.mious) > 1 else None


@dataclass(frozen=True)
class Results:
    """All rows of a study, the arms' parameters and land crops seen, and the score of the commonest class."""

    rows: list[Row]
    parameters: dict[str, int]
    land_samples: dict[str, int]
    scenes: int
    commonest: str
    always: float

    def of(self, how: str) -> list[Row]:
        """Return the rows tested in one way."""
        return [row for row in self.rows if row.how == how]


def measure(conduct: Conduct, progress: Callable[[Iterable], Iterable] = iter) -> Results:
    """Score all maps of a study that has been carried out."""
    study = conduct.study
    resampling = Resampling(study.test.resamples)
    seeds = study.seeds
    several = [ENSEMBLE] if len(seeds) > 1 else []
    rows = []
    first: list[Evaluation] = []
    for how in (*conduct.hows, *several):
        leader: list[Evaluation] = []
        for arm in progress(study.arms):
            folders = [conduct.maps(arm, how, seed) for seed in seeds]
            folders = [conduct.maps(arm, how)] if how == ENSEMBLE else folders
            pairs = [pair_masks(conduct.land, folder, only_predicted=True) for folder in folders]
            scored = [evaluate(each, LAND, resampling=resampling) for each in pairs]
            rows.append(row_of(arm, how, scored, leader))
            leader, first = leader or scored, first or scored
    experiments = {arm: conduct.training(arm, seeds[0]).experiment for arm in study.arms}
    return Results(
        rows,
        {arm: build(exp, TRAIN).parameters() for arm, exp in experiments.items()},
        {arm: land_samples(exp) for arm, exp in experiments.items()},
        len(first[0].matrices),
        first[0].commonest,
        float(first[0].constant.miou),
    )


def row_of(arm: str, how: str, scored: Sequence[Evaluation], first: Sequence[Evaluation] = ()) -> Row:
    """Return the row of one evaluation per seed; `first` are those of the arm whose lead is asked, if any."""
    resampling = scored[0].resampling
    draws, others = _draws(scored), _draws(first)
    lead = bounds = None
    if first:
        lead = float(np.mean(_mious(scored)) - np.mean(_mious(first)))
        if draws is not None and others is not None:
            seeded = partial(_mean_of_drawn_seeds, np.random.default_rng(resampling.seed))
            bounds = resampling.interval(seeded(draws) - seeded(others))
    iou = np.nanmean([each.measured.iou for each in scored], axis=0)
    return Row(
        arm,
        how,
        _mious(scored),
        None if draws is None else resampling.interval(draws.mean(axis=0)),
        lead,
        bounds,
        dict(zip(scored[0].task.classes, map(float, iou), strict=True)),
    )


def _mious(scored: Sequence[Evaluation]) -> tuple[float, ...]:
    return tuple(float(each.measured.miou) for each in scored)


def _draws(scored: Sequence[Evaluation]) -> np.ndarray | None:
    """Return the mIoU of each seed and draw of scenes, (seeds, resamples): the same draws for all seeds."""
    if not scored or any(each.resampled is None for each in scored):
        return None
    return np.stack([each.resampled.miou for each in scored])


def _mean_of_drawn_seeds(rng: np.random.Generator, draws: np.ndarray) -> np.ndarray:
    """Return for each draw of scenes the mean over as many seeds drawn with replacement, (resamples,)."""
    seeds, resamples = draws.shape
    return np.take_along_axis(draws, rng.integers(seeds, size=(seeds, resamples)), axis=0).mean(axis=0)
