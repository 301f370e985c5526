"""The paper's two data sets, which most tests are about, and what is made of them in tests."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.datasets import Dataset, read_dataset
from data_prep.label_files import open_map, open_truth
from data_prep.records import RecordConfig

LAND, ROAD = read_dataset("deepglobe_land"), read_dataset("deepglobe_road")
DATASETS = {"land": LAND, "road": ROAD}
BGR, MEAN = ("blue", "green", "red"), (103.94, 116.78, 123.68)


def config(task: str, crop: int, margin: int = 0, variants: int = 1, seed: int = 0, **more) -> RecordConfig:
    """Return the config of records of blue, green and red."""
    return RecordConfig(DATASETS[task], BGR, MEAN, crop, margin, variants, seed, **more)


@dataclass(frozen=True)
class ArrayScene:
    """A scene in memory: image uint8 (H, W, C), labels uint8 (H, W)."""

    image: np.ndarray
    labels: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.labels.shape

    def read_image(self, rows: slice, columns: slice) -> np.ndarray:
        return self.image[rows, columns]

    def read_labels(self, rows: slice, columns: slice) -> np.ndarray:
        return self.labels[rows, columns]


def changed(dataset: Dataset, **changes) -> Dataset:
    """Return a data set with other settings."""
    return Dataset.model_validate(dataset.model_dump() | changes)


def with_values(dataset: Dataset, values: dict[str, list[int]], ignored: tuple[int, ...] = ()) -> Dataset:
    """Return a data set whose masks hold numbers: the values of classes by name, the others have none."""
    classes = [entry.model_dump() | {"values": values.get(entry.name, [])} for entry in dataset.classes]
    return changed(dataset, classes=classes, ignore=dataset.ignore.model_dump() | {"values": ignored})


def read_map(path: Path, dataset: Dataset) -> np.ndarray:
    """Return the labels of a map."""
    with open_map(path, dataset) as labels:
        return labels.read(slice(None), slice(None))


def read_truth(path: Path, dataset: Dataset) -> np.ndarray:
    """Return the labels of a true mask."""
    with open_truth(path, dataset) as labels:
        return labels.read(slice(None), slice(None))
