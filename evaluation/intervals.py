"""How far scores depend on which scenes were tested: intervals by resampling scenes with replacement.

The percentile bootstrap (Efron, 1979), with the scene as the unit: pixels of one scene are no
independent observations. With few scenes the intervals are too narrow.
"""

from dataclasses import dataclass

import numpy as np

from common.numbers import check_number
from evaluation.metrics import Scores, scores

MAX_RESAMPLES = 1_000_000
LEVEL = 0.95
SEED = 0
MIN_SCENES = 2  # one scene says nothing about others
FEW_SCENES = 10  # of fewer, the intervals are clearly too narrow


def few_scenes(count: int) -> str | None:
    """Return a warning on the intervals of so many scenes, None where there are enough."""
    return (
        f"{count} scenes are few: the intervals are too narrow" if MIN_SCENES <= count < FEW_SCENES else None
    )


@dataclass(frozen=True)
class Bootstrap:
    """`resamples` draws of as many scenes as there are; each interval holds `level` of their scores.

    The same seed and number of scenes give the same draws, so that two sets of maps of the same
    scenes can be compared draw by draw.
    """

    resamples: int = 1000
    level: float = LEVEL
    seed: int = SEED

    def __post_init__(self) -> None:
        """Refuse fewer than 0 draws (0: no intervals) and more than MAX_RESAMPLES, with DataError."""
        check_number("--resamples", self.resamples, 0, MAX_RESAMPLES)
        check_number("--seed", self.seed, 0)

    def scores(self, matrices: np.ndarray) -> Scores | None:
        """Return the scores of each draw, with a leading axis of `resamples`, or None for a single scene.

        `matrices` holds one confusion matrix per scene, (scenes, classes, classes + 1).
        """
        scenes = len(matrices)
        if scenes < MIN_SCENES or not self.resamples:
            return None
        random = np.random.default_rng(self.seed)
        times = random.multinomial(scenes, np.full(scenes, 1 / scenes), self.resamples)
        return scores(np.tensordot(times, matrices, 1))

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """Return the bounds of one score's draws; NaN among them do not count, NaN alone give NaN."""
        known = values[~np.isnan(values)]
        if not known.size:
            return float("nan"), float("nan")
        tail = (1 - self.level) / 2
        low, high = np.quantile(known, (tail, 1 - tail))
        return float(low), float(high)
