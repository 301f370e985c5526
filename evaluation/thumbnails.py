"""Scenes of any size as small pictures, read strip by strip."""

from pathlib import Path

import cv2
import numpy as np

from common.datasets import Dataset, display_bands
from data_prep.label_files import shrunk_shape
from data_prep.read_options import ReadOptions
from data_prep.scene_image import SceneImage, open_image
from inference.tiles import cut_tile

STRIP = 32  # rows of the small picture made at once


def read_thumbnail(path: Path, longest: int, dataset: Dataset) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a scene (JPEG, PNG, TIFF) with sides of at most `longest`, and its own (height, width).

    The picture is (h, w, 3) RGB uint8 of the bands that figures show: means over the pixels, black where
    there are no data; images of more than 8 bits are stretched as in prediction. Raises DataError for what
    cannot be read.
    """
    with open_image(path, ReadOptions.of(dataset, display_bands(dataset.bands))) as image:
        height, width = shrunk_shape(image.shape, longest)
        small = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, STRIP):
            bottom = min(top + STRIP, height)
            rows = slice(top * image.shape[0] // height, -(-bottom * image.shape[0] // height))
            strip = cv2.resize(image[rows], (width, bottom - top), interpolation=cv2.INTER_AREA)
            small[top:bottom] = as_bytes(strip).reshape(
                bottom - top, width, -1
            )  # OpenCV drops a single channel
        return small, tuple(image.shape)


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return pixels of 0-255 as uint8."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def read_centre_crop(image: SceneImage | np.ndarray, side: int) -> np.ndarray:
    """Return the middle (side, side, bands) of an image as prediction reads it; a smaller one is padded."""
    top, left = (max((size - side) // 2, 0) for size in image.shape[:2])
    return cut_tile(image[top : top + side], 0, left, side)
