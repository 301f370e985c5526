"""Maps of pictures: PNGs in the data set's colours, whole or not at all."""

from pathlib import Path

import cv2
import numpy as np

from common.datasets import Dataset
from common.errors import OutputError
from common.files import staged_file
from data_prep.masks import colours_from_labels


def write_map(path: Path, labels: np.ndarray, dataset: Dataset, overwrite: bool = False) -> None:
    """Write labels (H, W) as a PNG in the data set's colours, in one step; OutputError where that fails."""
    colours = cv2.cvtColor(colours_from_labels(labels, dataset), cv2.COLOR_RGB2BGR)
    done, png = cv2.imencode(".png", colours)
    if not done:
        raise OutputError(path, f"{labels.shape} labels make no PNG", "predict a smaller scene")
    with staged_file(path, overwrite) as staged:
        staged.write_bytes(png)
