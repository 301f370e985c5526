"""The files that one scene gives: its classes, and on request probabilities and confidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.datasets import IGNORE, Dataset
from common.files import write_text
from data_prep.geotiff import Place
from data_prep.label_files import CLASSES_TAG
from data_prep.masks import class_list
from inference.folders import MAP_ENDING, RASTER_ENDING
from inference.map_rasters import FULL, NODATA, Layout, MapRaster, names_file, names_text, to_bytes
from inference.masks import write_map

CHUNK = 64  # rows of probabilities that are worked on at once
PROBABILITIES_ENDING, CONFIDENCE_ENDING = "_probabilities.tif", "_confidence.tif"


@dataclass(frozen=True)
class Wanted:
    """What is written beside the map of classes, and how.

    `raster` gives pictures (JPEG, PNG) a class raster too; `cloud` makes all GeoTIFFs cloud-optimised.
    """

    probabilities: bool = False
    confidence: bool = False
    raster: bool = False
    cloud: bool = False

    def names(self, id: str, tiff: bool) -> list[str]:
        """Return the names of the files of scene `id`; `tiff` tells that the scene is a TIFF itself."""
        names = [f"{id}{MAP_ENDING}"]
        if tiff or self.raster:
            raster = f"{id}{RASTER_ENDING}"
            names = [names_file(Path(raster)).name, raster]
        if self.probabilities:
            names.append(f"{id}{PROBABILITIES_ENDING}")
        if self.confidence:
            names.append(f"{id}{CONFIDENCE_ENDING}")
        return names


class SceneMaps:
    """The files of one scene under work, in `folder`; `write` takes rows in order, `close` ends them."""

    def __init__(
        self,
        folder: Path,
        id: str,
        shape: tuple[int, int],
        place: Place | None,
        task: str,
        dataset: Dataset,
        wanted: Wanted,
        tags: Mapping[str, str],
    ) -> None:
        """Create the rasters; `shape` is the scene's (H, W), `place` None for a picture."""
        self._folder, self._id, self._dataset, self._wanted = folder, id, dataset, wanted
        self.pixels = np.zeros(256, np.int64)  # by label
        tags = {"task": task, "dataset": dataset.name, CLASSES_TAG: class_list(dataset.class_names), **tags}
        self._rasters: dict[str, MapRaster] = {}
        self._labels = None

        def raster(kind: str, ending: str, layout: Layout) -> None:
            self._rasters[kind] = MapRaster(folder / f"{id}{ending}", shape, place, layout)

        try:
            if place is not None or wanted.raster:
                raster("classes", RASTER_ENDING, Layout([f"{task} class"], dataset.palette, 1.0, tags))
            else:
                self._labels = np.empty(shape, np.uint8)
            scaled = tags | {"scaling": f"probability = value / {FULL}; {NODATA} = no data"}
            if wanted.probabilities:
                raster(
                    "probabilities", PROBABILITIES_ENDING, Layout(dataset.class_names, (), 1 / FULL, scaled)
                )
            if wanted.confidence:
                layout = Layout(["probability of the likeliest class"], (), 1 / FULL, scaled)
                raster("confidence", CONFIDENCE_ENDING, layout)
        except BaseException:
            self.discard()
            raise

    def write(self, top: int, probabilities: np.ndarray, valid: np.ndarray | None) -> None:
        """Take the rows from `top`: probabilities (C, h, W), and where there are data, (h, W)."""
        for row in range(0, probabilities.shape[1], CHUNK):
            part = probabilities[:, row : row + CHUNK]
            here = None if valid is None else valid[row : row + CHUNK]
            self._write(top + row, part, here)

    def _write(self, top: int, part: np.ndarray, valid: np.ndarray | None) -> None:
        labels = part.argmax(axis=0).astype(np.uint8)
        if valid is not None:
            labels[~valid] = IGNORE
        self.pixels += np.bincount(labels.ravel(), minlength=256)
        values = {"classes": labels[None]}
        if self._wanted.probabilities:
            values["probabilities"] = to_bytes(part)
        if self._wanted.confidence:
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
            raster.close(self._wanted.cloud)
        if self._labels is not None:
            write_map(self._folder / f"{self._id}{MAP_ENDING}", self._labels, self._dataset)
        else:
            names = names_file(self._folder / f"{self._id}{RASTER_ENDING}")
            write_text(names, names_text(self._dataset.class_names))

    def discard(self) -> None:
        """Close what is open, as it is."""
        for raster in self._rasters.values():
            raster.discard()

    def shares(self) -> dict[str, int]:
        """Return the number of pixels of each class, and of those without data."""
        counts = {name: int(self.pixels[label]) for label, name in enumerate(self._dataset.class_names)}
        return counts | {"no data": int(self.pixels[IGNORE])}
