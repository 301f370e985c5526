"""Folders of masks to scores: of one set of maps, or of several over the same scenes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from common.datasets import Dataset
from common.errors import DataError
from data_prep.label_files import open_truth
from data_prep.scene_pixels import check_same_georeference, windows
from data_prep.subsets import Subset
from evaluation.intervals import Bootstrap
from evaluation.metrics import MAIN, Scores, confusion, constant_scores, scores
from inference.prediction_manifest import dataset_by_manifests, has_trained, map_weights, open_map_of
from inference.scene_files import SAME_PART, MaskPair, find_maps, pair_masks

WINDOW = 2048  # pixels of a side compared at once


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of maps; `matrices` keeps each scene's confusion matrix by id."""

    dataset: Dataset
    matrices: dict[str, np.ndarray]
    measured: Scores
    constant: Scores
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    trained: tuple[str, ...] = ()  # ids of scenes that trained the weights of the maps
    weights: tuple[str, ...] = ()  # short checksums of those, as far as the maps' manifests say it

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the confusion matrix's columns: the classes, and last what has none in a map."""
        names = self.dataset.class_names
        return (*names, "no data" if "unknown" in names else "unknown")  # no class may be named "no data"

    @property
    def commonest(self) -> str:
        """Name of the truth's commonest class."""
        return self.dataset.class_names[self.measured.commonest]

    @property
    def ratio(self) -> float:
        """The main score divided by that of always predicting the commonest class."""
        return self.measured[MAIN.key] / self.constant[MAIN.key]

    @cached_property
    def resampled(self) -> Scores | None:
        """The scores of the bootstrap's draws, or None for a single scene."""
        return self.bootstrap.scores(np.stack(list(self.matrices.values())))

    def interval(self, score: str, label: int | None = None) -> tuple[float, float] | None:
        """Return the bounds of a score by its key, of class `label` if it has classes.

        None for a single scene.
        """
        if self.resampled is None:
            return None
        values = self.resampled[score]
        return self.bootstrap.interval(values if label is None else values[:, label])

    def lead(self, other: "Evaluation") -> tuple[float, tuple[float, float] | None]:
        """Return by how much the main score exceeds that of `other` on the same scenes, and its bounds.

        Both are resampled alike: what makes a scene hard for both maps drops out.
        """
        lead = self.measured[MAIN.key] - other.measured[MAIN.key]
        if self.resampled is None or other.resampled is None:
            return lead, None
        return lead, self.bootstrap.interval(self.resampled[MAIN.key] - other.resampled[MAIN.key])


def evaluate(
    pairs: Sequence[MaskPair],
    dataset: Dataset,
    progress: Callable[[Iterable[MaskPair]], Iterable[MaskPair]] = iter,
    bootstrap: Bootstrap | None = None,
) -> Evaluation:
    """Compare the masks of `pairs`: one confusion matrix over all pixels of all scenes.

    The true masks are those of `dataset`. Raises DataError for a mask that cannot be read, a prediction of
    another size, place or (by its manifest) of other classes than its truth, and where no pixel at all is
    scored.
    """
    matrices = {pair.id: confusion_of(pair, dataset) for pair in progress(pairs)}
    measured = scores(sum(matrices.values()))
    if not measured.pixels:
        fact = f"has only pixels that are {dataset.ignore.name}"
        raise DataError(pairs[0].truth.parent, fact, "give truth with a class in it")
    trained = tuple(trained_scenes(pairs))
    constant = constant_scores(measured)
    weights = sorted({one for pair in pairs for one in map_weights(pair.predicted, pair.id)})
    drawn = bootstrap or Bootstrap()
    return Evaluation(dataset, matrices, measured, constant, drawn, trained, tuple(weights))


def dataset_of_maps(folders: Sequence[Path], named: str | None) -> Dataset:
    """Return the data set that a user names, else that of the maps by their manifests.

    Raises DataError where no manifest says it.
    """
    return dataset_by_manifests((next(iter(find_maps(folder).items())) for folder in folders), named)


def pair_folders(
    truth: Path,
    folders: Sequence[Path],
    dataset: Dataset,
    only_predicted: bool = False,
    subset: Subset | None = None,
) -> list[list[MaskPair]]:
    """Pair each folder of predictions with the truth; DataError where they are not of the same scenes."""
    paired = [pair_masks(truth, folder, dataset, only_predicted, subset) for folder in folders]
    first = {pair.id for pair in paired[0]}
    for folder, pairs in zip(folders[1:], paired[1:], strict=True):
        different = sorted(first ^ {pair.id for pair in pairs})
        if different:
            lacking = folder if different[0] in first else folders[0]
            remedy = "compare predictions of the same scenes"
            raise DataError(lacking, f"has no prediction of scene {different[0]}", remedy)
    return paired


def trained_scenes(pairs: Sequence[MaskPair], subset: Subset | None = None) -> list[str]:
    """Return the ids of scenes that trained the weights of their maps, as far as the maps' manifests say it.

    Raises DataError where `subset` takes such a scene for testing.
    """
    seen = [pair for pair in pairs if has_trained(pair.predicted, pair.id)]
    if seen and subset is not None and subset.option:
        fact = f"is of a scene that trained the weights, and {subset.option} takes it for testing"
        raise DataError(seen[0].predicted, fact, SAME_PART)
    return [pair.id for pair in seen]


def confusion_of(pair: MaskPair, dataset: Dataset) -> np.ndarray:
    """Return the confusion matrix of one scene; DataError as `evaluate`."""
    with (
        open_truth(pair.truth, dataset) as truth,
        open_map_of(pair.predicted, pair.id, dataset) as predicted,
    ):
        if truth.shape != predicted.shape:
            sizes = "{1}x{0}, the truth {3}x{2}".format(*predicted.shape, *truth.shape)
            raise DataError(pair.predicted, f"is {sizes}", "predict the image that belongs to the truth")
        check_same_georeference(truth, predicted)
        return sum(
            confusion(truth.read(*window), predicted.read(*window), len(dataset.classes))
            for window in windows(truth.shape, WINDOW)
        )
