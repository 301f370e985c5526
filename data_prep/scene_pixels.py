"""A scene opened: windows of its image and of its labels, whatever files they stand in."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.datasets import IGNORE, Dataset
from common.errors import DataError
from common.files import file_checksum, readable
from data_prep.geotiff import Georeference
from data_prep.label_files import Labels, RasterLabels, open_truth
from data_prep.read_options import ReadOptions
from data_prep.scene_image import SceneImage, open_image
from data_prep.scenes import Scene

GEOREFERENCE_TOLERANCE = 0.1  # pixels by which rounding may move a raster; half a pixel is another grid


@dataclass(frozen=True)
class ScenePixels:
    """An open scene."""

    scene: Scene
    image: SceneImage
    labels: Labels
    read_options: ReadOptions

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape

    @cached_property
    def image_sha256(self) -> str:
        """The image file's SHA-256."""
        return file_checksum(self.scene.image)

    @cached_property
    def mask_sha256(self) -> str:
        """The mask file's SHA-256."""
        return file_checksum(self.scene.mask)

    @property
    def read_as(self) -> dict:
        """How the image was read, where that is not for granted.

        Of a raster, the number of each band; of it, or of more than 8 bits, the values that became 0 and
        255 in each band (None: 0 and 255); and what of the file is not applied.
        """
        bands, stretch, note = (
            self.read_options.bands,
            self.image.stretch,
            self.image.note or self.image.source.note,
        )
        read = {}
        if self.image.georeference is not None:
            read["bands"] = dict(zip(bands, self.image.source.bands, strict=True))
        if self.image.georeference is not None or stretch is not None:
            read["stretch"] = stretch and {
                band: list(span) for band, *span in zip(bands, stretch.low, stretch.high, strict=True)
            }
        return read | ({"note": note} if note else {})

    def read_image(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the image as prediction reads it, in whole numbers: uint8 (h, w, C).

        Without data it is the reading's fill.
        """
        pixels = self.image.read(rows, columns)
        return np.ascontiguousarray(pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8))

    def read_labels(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of the labels, uint8 (h, w): IGNORE where image or mask has no data."""
        return self.labels.read(rows, columns, self.image.valid(rows, columns))


@contextmanager
def open_scene(scene: Scene, dataset: Dataset, read_options: ReadOptions) -> Iterator[ScenePixels]:
    """Yield a scene's pixels: pictures are decoded whole, GeoTIFFs read window by window.

    Raises DataError, naming the file, for anything wrong with the scene: image and mask must have one size
    and, where both say where they lie, one place.
    """
    with (
        readable(scene.image),
        open_image(scene.image, read_options) as image,
        open_truth(scene.mask, dataset) as labels,
    ):
        if labels.shape != image.shape:
            sizes = "{1}x{0}, its image {3}x{2}".format(*labels.shape, *image.shape)
            raise DataError(scene.mask, f"is {sizes}", "use the mask that belongs to the image")
        if isinstance(labels, RasterLabels) and image.georeference is not None:
            check_georeference(image.georeference, image.shape, labels)
        yield ScenePixels(scene, image, labels, read_options)


def windows(shape: tuple[int, int], side: int) -> Iterator[tuple[slice, slice]]:
    """Yield (rows, columns) of windows of at most `side` pixels a side that cover (height, width) once."""
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield slice(top, min(top + side, shape[0])), slice(left, min(left + side, shape[1]))


def check_georeference(
    georeference: Georeference, shape: tuple[int, int], mask: RasterLabels, reference: str = "its image"
) -> None:
    """Raise DataError if a mask lies elsewhere than `reference`, of `shape` and at `georeference`."""
    mask_georeference = mask.georeference
    distance = georeference.pixels_apart(mask_georeference, shape)
    if distance > GEOREFERENCE_TOLERANCE:
        crs = mask_georeference.crs or mask_georeference.gcps[1]
        details = [str(crs)] * (crs is not None)
        details.append(
            f"{distance:.1f} pixels away"
            if math.isfinite(distance)
            else f"no way to {georeference.crs or 'its RPCs'}"
        )
        fact = f"lies elsewhere than {reference} ({', '.join(details)})"
        raise DataError(mask.path, fact, f"warp it to the grid of {reference}")


def check_same_georeference(truth: Labels, predicted: Labels) -> None:
    """Raise DataError where both are rasters that say where they lie, and it is not one place."""
    if isinstance(truth, RasterLabels) and isinstance(predicted, RasterLabels):
        check_georeference(truth.georeference, truth.shape, predicted, "the truth")


def refuse_one_class(scenes: Sequence[Scene], dataset: Dataset) -> None:
    """Raise DataError where all masks show a single class at most, and mostly pixels without one.

    So look the black and white masks of another data set whose black is without a class in this one.
    Nothing is refused that a net could learn from. Reading ends with the first mask that has two classes,
    so mostly the first. GeoTIFFs are left alone: the data set says what their numbers mean.
    """
    if any(scene.has_raster for scene in scenes):
        return
    present, ignored, pixels = set(), 0, 0
    for scene in scenes:
        with open_truth(scene.mask, dataset) as mask:
            counts = np.bincount(mask.read(slice(None), slice(None)).ravel(), minlength=256)
        present |= {label for label in np.flatnonzero(counts).tolist() if label != IGNORE}
        if len(present) > 1:
            return
        ignored += counts[IGNORE]
        pixels += counts.sum()
    if 2 * ignored > pixels:
        only = ", ".join(dataset.class_names[label] for label in present) or "nothing"
        extent = f" as all {len(scenes)} masks do" if len(scenes) > 1 else ""
        fact = f"{100 * ignored / pixels:.0f} % {dataset.ignore.name}, else {only}"
        remedy = f"check that these are masks of {dataset.title}"
        raise DataError(scenes[0].mask, f"shows one class at most{extent}: {fact}", remedy)
