"""Images in, maps out: strict reading, DeepGlobe's colours, whole files or none."""

from pathlib import Path

import cv2
import numpy as np

from common.errors import OutputError
from common.files import staged_file
from data_prep.classes import Task, colours_from_labels, labels_from_mask
from data_prep.decoding import decode, read_bytes


def read_image(path: Path) -> np.ndarray:
    """Return an 8-bit image as (H, W, 3) uint8 BGR; DataError if it is missing, broken or no image."""
    return decode(read_bytes(Path(path)), path)


def read_labels(path: Path, task: Task) -> np.ndarray:
    """Return a mask's labels, (H, W) uint8 with 255 for unknown; DataError for a colour of no class."""
    return labels_from_mask(cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB), task, path)


def write_map(path: Path, labels: np.ndarray, task: Task, overwrite: bool = False) -> None:
    """Write labels (H, W) as a PNG in the task's colours, in one step; OutputError where that fails."""
    colours = cv2.cvtColor(colours_from_labels(labels, task), cv2.COLOR_RGB2BGR)
    done, png = cv2.imencode(".png", colours)
    if not done:
        raise OutputError(path, f"{labels.shape} labels make no PNG", "predict a smaller scene")
    with staged_file(path, overwrite) as staged:
        staged.write_bytes(png)
