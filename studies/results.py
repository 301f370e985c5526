"""A study's maps to numbers: mIoU with its spread over seeds and its interval over scenes, and leads.

Two kinds of chance are kept apart. The spread over seeds says how much a training's own dice move a score,
the bootstrap over scenes how much the choice of test scenes does. A difference's interval draws both anew,
in pairs: a scene, and a seed, for both arms at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.errors import DataError
from evaluation.evaluation import Evaluation, evaluate
from evaluation.intervals import Bootstrap
from evaluation.page.scores import Bounds
from inference.scene_files import MaskPair, find_maps
from prototxt_gen.models import TRAIN, build
from studies.arms import CONTRASTS
from studies.plan import crops_seen
from studies.runner import ENSEMBLE, ONE_SCALE, StudyRunner


@dataclass(frozen=True)
class ArmScore:
    """One arm in one test mode; shares from 0 to 1, one of `mious` per seed (of an ensemble: one).

    `interval` is that of the mean over seeds, over scenes. `iou` is the mean over seeds by class, NaN for a
    class that neither truth nor any map has.
    """

    arm: str
    mode: str
    mious: tuple[float, ...]
    interval: Bounds
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
class Difference:
    """By how much `arm` exceeds `other` in mean mIoU at one scale, 0 to 1, with its interval.

    `factor` is what the two arms differ in. The interval draws scenes anew, the same for both, and seeds
    where there are several. `p` is two-sided, of the same draws, and `p_holm` is corrected for the number
    of differences that are looked at; both are None where there is no interval.
    """

    arm: str
    other: str
    factor: str
    mean: float
    interval: Bounds
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Results:
    """All of a study: rows, differences, each arm's parameters and crops seen, the commonest class."""

    rows: list[ArmScore]
    differences: list[Difference]
    parameters: dict[str, int]
    crops: dict[str, int]
    scenes: int
    commonest: str
    always: float  # mIoU of the commonest class everywhere

    def of(self, mode: str) -> list[ArmScore]:
        """Return the rows of one test mode."""
        return [row for row in self.rows if row.mode == mode]


def measure(runner: StudyRunner, progress: Callable[[Iterable], Iterable] = iter) -> Results:
    """Score all maps of a study that has been carried out; DataError where a scene or a map is missing."""
    study = runner.study
    modes = (*runner.test_modes, ENSEMBLE) if len(study.seeds) > 1 else runner.test_modes
    tested = [(arm, mode) for mode in modes for arm in study.arms]
    scored = {(arm, mode): _evaluations(runner, arm, mode) for arm, mode in progress(tested)}
    plain = {arm: scored[arm, ONE_SCALE] for arm in study.arms}
    first = plain[study.arms[0]][0]
    differences = [
        difference(arm, other, factor, plain[arm], plain[other])
        for arm, other, factor in CONTRASTS
        if arm in plain and other in plain
    ]
    return Results(
        [row_of(arm, mode, evaluations) for (arm, mode), evaluations in scored.items()],
        corrected(differences),
        {arm: build(runner.training(arm, 0).experiment, TRAIN).parameters() for arm in study.arms},
        crops_seen(study, runner.base),
        len(first.matrices),
        first.commonest,
        float(first.constant["miou"]),
    )


def _evaluations(runner: StudyRunner, arm: str, mode: str) -> list[Evaluation]:
    """Return the scores of one arm's maps, one per seed; of an ensemble, one."""
    bootstrap = Bootstrap(runner.study.test.resamples)
    seeds = (None,) if mode == ENSEMBLE else runner.study.seeds
    truth = {scene.id: scene.mask for scene in runner.scenes.test}
    folders = [runner.maps(arm, mode, seed) for seed in seeds]
    masks = [find_maps(folder) for folder in folders]
    for folder, maps in zip(folders, masks, strict=True):
        if maps.keys() != truth.keys():
            id = min(maps.keys() ^ truth.keys())
            raise DataError(folder, f"has other scenes than those held out, as {id}", "remove the folder")
    pairs = [[MaskPair(id, truth[id], path) for id, path in maps.items()] for maps in masks]
    return [evaluate(each, runner.dataset, bootstrap=bootstrap) for each in pairs]


def row_of(arm: str, mode: str, scored: Sequence[Evaluation]) -> ArmScore:
    """Return the row of one evaluation per seed."""
    draws = _draws(scored)
    ious = np.array([each.measured["iou"] for each in scored])
    iou = np.ma.masked_invalid(ious).mean(axis=0).filled(np.nan).tolist()
    return ArmScore(
        arm,
        mode,
        _mious(scored),
        None if draws is None else scored[0].bootstrap.interval(draws.mean(axis=0)),
        dict(zip(scored[0].dataset.class_names, iou, strict=True)),
    )


def difference(
    arm: str, other: str, factor: str, scored: Sequence[Evaluation], others: Sequence[Evaluation]
) -> Difference:
    """Return the difference of two arms, of one evaluation per seed each, of the same scenes."""
    mean = float(np.mean(_mious(scored)) - np.mean(_mious(others)))
    draws, other_draws = _draws(scored), _draws(others)
    if draws is None or other_draws is None:
        return Difference(arm, other, factor, mean, None)
    bootstrap = scored[0].bootstrap
    rng = np.random.default_rng([bootstrap.seed, 1])  # not the stream that has drawn the scenes
    means = _mean_of_drawn_seeds(rng, draws - other_draws)
    return Difference(arm, other, factor, mean, bootstrap.interval(means), p_value(means))


def p_value(draws: np.ndarray) -> float:
    """Return the two-sided p of a difference of 0 by the bootstrap's draws of it, NaN among them left out.

    Twice the share of draws on the rarer side of 0, itself counted in (Davison and Hinkley, 1997, 4.2).
    """
    known = draws[~np.isnan(draws)]
    rarer = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return min(1.0, 2 * (rarer + 1) / (known.size + 1))


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with `p_holm`, as far as they have a `p`."""
    tested = [each for each in differences if each.p is not None]
    adjusted = iter(holm([each.p for each in tested]))
    return [each if each.p is None else replace(each, p_holm=next(adjusted)) for each in differences]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number m (Holm, 1979), in the order given.

    The k-th smallest counts m + 1 - k times, but no less than the one before it, and at most 1.
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        adjusted[at] = least = max(least, min(1.0, (len(p_values) - rank) * p_values[at]))
    return adjusted


def _mious(scored: Sequence[Evaluation]) -> tuple[float, ...]:
    return tuple(float(each.measured["miou"]) for each in scored)


def _draws(scored: Sequence[Evaluation]) -> np.ndarray | None:
    """Return the mIoU of each seed and draw of scenes, (seeds, resamples): the same draws for all seeds."""
    if any(each.resampled is None for each in scored):
        return None
    return np.stack([each.resampled["miou"] for each in scored])


def _mean_of_drawn_seeds(rng: np.random.Generator, draws: np.ndarray) -> np.ndarray:
    """Return for each draw of scenes the mean over as many seeds drawn with replacement, (resamples,).

    A draw of n of n seeds varies by (n - 1) / n of what their mean does: its deviation is enlarged by that.
    """
    seeds, resamples = draws.shape
    if seeds == 1:
        return draws[0]
    mean = draws.mean(axis=0)
    drawn = np.take_along_axis(draws, rng.integers(seeds, size=(seeds, resamples)), axis=0).mean(axis=0)
    return mean + (drawn - mean) * np.sqrt(seeds / (seeds - 1))
