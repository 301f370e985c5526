"""Label rasters read in windows: integers, of which a mapping file or the raster itself says the classes."""

from dataclasses import dataclass

import numpy as np
import rasterio

from common.errors import DataError
from data_prep.classes import IGNORE, Task
from data_prep.geotiff import read_window, valid_window
from data_prep.label_values import LabelValues

CLASSES_TAG = "classes"  # of rasters whose numbers are the labels themselves


@dataclass(frozen=True)
class LabelRaster:
    """The labels in an open dataset. Raises DataError for one that holds anything but a band of integers."""

    dataset: rasterio.DatasetReader
    values: LabelValues

    def __post_init__(self) -> None:
        """Check the dataset's bands."""
        kind = np.dtype(self.dataset.dtypes[0])
        if self.dataset.count != 1 or kind.kind not in "iu" or not np.can_cast(kind, np.int64):
            fact = f"has {self.dataset.count} bands of {kind}"
            raise DataError(self.dataset.name, fact, "give one band of integers, not of uint64")

    def read(
        self,
        rows: slice,
        columns: slice,
        shape: tuple[int, int] | None = None,
        image_valid: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return a window's labels, uint8 (h, w): IGNORE without data here or, bool (h, w), in the image.

        `shape` as in `read_window`. Raises DataError for a number that is no class.
        """
        values = read_window(self.dataset, 1, rows, columns, shape)
        valid = valid_window(self.dataset, rows, columns, shape)
        if image_valid is not None:
            valid &= image_valid
        return self.values.apply(values, ~valid, self.dataset.name)

    def require_class_numbers(self, task: Task) -> None:
        """Raise DataError where the raster does not tell that its numbers are the labels of `task`."""
        told = self.dataset.tags().get(CLASSES_TAG)
        if told != class_list(task):
            fact = f"holds numbers of {told!r}" if told else "holds numbers, and does not tell their classes"
            raise DataError(
                self.dataset.name, fact, f"say by --mapping which {task.name} class each of them is"
            )


def class_list(task: Task) -> str:
    """Return what a raster's tag says of its numbers: `0 urban, 1 agriculture, ...`."""
    return ", ".join(f"{label} {name}" for label, name in enumerate(task.classes))


def class_numbers(task: Task) -> LabelValues:
    """Return the values of a raster that holds the labels themselves: 0, 1 ... and IGNORE."""
    labels = (*range(len(task.classes)), IGNORE)
    return LabelValues(None, labels, labels)
