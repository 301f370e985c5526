"""The files that one scene gives: its classes, and on request probabilities and confidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from common.datasets import IGNORE, Dataset
from common.errors import OutputError
from common.files import staged_file, write_text
from data_prep.geotiff import Georeference
from data_prep.label_files import CLASSES_TAG
from data_prep.masks import class_list, colours_from_labels
from inference.map_rasters import (
    FULL,
    NODATA,
    MapRaster,
    RasterContent,
    attributes_path,
    attributes_xml,
    to_bytes,
)
from inference.predictor import tempered
from inference.scene_files import MAP_SUFFIX, RASTER_SUFFIX

CHUNK = 64  # rows of probabilities that are worked on at once
PROBABILITIES_SUFFIX, CONFIDENCE_SUFFIX = "_probabilities.tif", "_confidence.tif"


@dataclass(frozen=True)
class OutputOptions:
    """What is written beside the map of classes, and how.

    `raster` gives pictures (JPEG, PNG) a class raster too; `cloud` makes all GeoTIFFs cloud-optimised.
    """

    probabilities: bool = False
    confidence: bool = False
    raster: bool = False
    cloud: bool = False

    def names(self, id: str, tiff: bool) -> list[str]:
        """Return the names of the files of scene `id`; `tiff`: the scene is a TIFF itself."""
        names = [f"{id}{MAP_SUFFIX}"]
        if tiff or self.raster:
            raster = f"{id}{RASTER_SUFFIX}"
            names = [attributes_path(Path(raster)).name, raster]
        if self.probabilities:
            names.append(f"{id}{PROBABILITIES_SUFFIX}")
        if self.confidence:
            names.append(f"{id}{CONFIDENCE_SUFFIX}")
        return names


class SceneMaps:
    """The files of one scene under work, in `folder`; `write` takes rows in order, `close` ends them."""

    def __init__(
        self,
        folder: Path,
        id: str,
        shape: tuple[int, int],
        georeference: Georeference | None,
        task: str,
        dataset: Dataset,
        outputs: OutputOptions,
        tags: Mapping[str, str],
        temperature: float | None = None,
    ) -> None:
        """Create the rasters; `shape` is the scene's (H, W), `georeference` None for a picture.

        Probabilities are scaled by a `temperature` if there is one; the classes are those of the net.
        """
        self._temperature = temperature
        self._folder, self._id, self._dataset, self._outputs = folder, id, dataset, outputs
        self.pixels = np.zeros(256, np.int64)  # by label
        tags = {"task": task, "dataset": dataset.name, CLASSES_TAG: class_list(dataset.class_names), **tags}
        self._rasters: dict[str, MapRaster] = {}
        self._labels = None

        def raster(kind: str, suffix: str, layout: RasterContent) -> None:
            self._rasters[kind] = MapRaster(folder / f"{id}{suffix}", shape, georeference, layout)

        try:
            if georeference is not None or outputs.raster:
                raster("classes", RASTER_SUFFIX, RasterContent([f"{task} class"], dataset.palette, 1.0, tags))
            else:
                self._labels = np.empty(shape, np.uint8)
            scaled = tags | {"scaling": f"probability = value / {FULL}; {NODATA} = no data"}
            if outputs.probabilities:
                raster(
                    "probabilities",
                    PROBABILITIES_SUFFIX,
                    RasterContent(dataset.class_names, (), 1 / FULL, scaled),
                )
            if outputs.confidence:
                layout = RasterContent(["probability of the likeliest class"], (), 1 / FULL, scaled)
                raster("confidence", CONFIDENCE_SUFFIX, layout)
        except BaseException:
            self.discard()
            raise

    def write(self, top: int, probabilities: np.ndarray, valid: np.ndarray | None) -> None:
        """Take the rows from `top`: probabilities (C, h, W), and where there are data, (h, W)."""
        for row in range(0, probabilities.shape[1], CHUNK):
            part = probabilities[:, row : row + CHUNK]
            part_valid = None if valid is None else valid[row : row + CHUNK]
            self._write(top + row, part, part_valid)

    def _write(self, top: int, part: np.ndarray, valid: np.ndarray | None) -> None:
        labels = part.argmax(axis=0).astype(np.uint8)
        if valid is not None:
            labels[~valid] = IGNORE
        self.pixels += np.bincount(labels.ravel(), minlength=256)
        values = {"classes": labels[None]}
        if self._temperature is not None:
            part = tempered(part, self._temperature)
        if self._outputs.probabilities:
            values["probabilities"] = to_bytes(part)
        if self._outputs.confidence:
            values["confidence"] = to_bytes(part.max(axis=0, keepdims=True))
        for kind, raster in self._rasters.items():
            if valid is not None:
                values[kind][:, ~valid] = NODATA
            raster.write(values[kind])
        if self._labels is not None:
            self._labels[top : top + len(labels)] = labels

    def close(self) -> None:
        """End all files; OutputError where one cannot be written."""
        for raster in self._rasters.values():
            raster.close(self._outputs.cloud)
        if self._labels is not None:
            write_map(self._folder / f"{self._id}{MAP_SUFFIX}", self._labels, self._dataset)
        else:
            attributes = attributes_path(self._folder / f"{self._id}{RASTER_SUFFIX}")
            write_text(attributes, attributes_xml(self._dataset.class_names, self._dataset.palette))

    def discard(self) -> None:
        """Close what is open, as it is."""
        for raster in self._rasters.values():
            raster.discard()

    def shares(self) -> dict[str, int]:
        """Return the number of pixels of each class, and of those without data."""
        counts = {name: int(self.pixels[label]) for label, name in enumerate(self._dataset.class_names)}
        return counts | {"no data": int(self.pixels[IGNORE])}


def write_map(path: Path, labels: np.ndarray, dataset: Dataset, overwrite: bool = False) -> None:
    """Write labels (H, W) as a PNG in the data set's colours, in one step; OutputError where that fails."""
    colours = cv2.cvtColor(colours_from_labels(labels, dataset), cv2.COLOR_RGB2BGR)
    done, png = cv2.imencode(".png", colours)
    if not done:
        raise OutputError(path, f"{labels.shape} labels make no PNG", "predict a smaller scene")
    with staged_file(path, overwrite) as staged:
        staged.write_bytes(png)
