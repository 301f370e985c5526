"""Maps as GeoTIFF, written from top to bottom: tiled, compressed, with overviews, or cloud-optimised."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from common.errors import OutputError
from data_prep.geotiff import Georeference, one_line

BLOCK = 512  # pixels a side; a multiple of 16
PROFILE = {
    "driver": "GTiff",
    "tiled": True,
    "blockxsize": BLOCK,
    "blockysize": BLOCK,
    "compress": "deflate",
    "bigtiff": "if_safer",
}
NODATA = 255
FULL = 254  # of a probability of 1: value / 254, since 255 says that there is none
ATTRIBUTES_SUFFIX = ".aux.xml"  # where GDAL, and so QGIS, looks for the names of classes
CATEGORIES = "PAMRasterBand/CategoryNames/Category"
# Columns of the raster attribute table: name, GDALRATFieldType and GDALRATFieldUsage, as numbers of GDAL.
ATTRIBUTES = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
SIDECARS = (ATTRIBUTES_SUFFIX, ".ovr", ".msk")  # what GDAL, and so QGIS, writes of a raster beside it


def to_bytes(probabilities: np.ndarray) -> np.ndarray:
    """Return uint8 0-254 of probabilities 0-1, rounded: value / 254 is off by at most 1/508."""
    return np.rint(np.clip(probabilities, 0, 1) * FULL).astype(np.uint8)


@dataclass(frozen=True)
class RasterContent:
    """What a raster holds, beside its values: one name for each band.

    `palette` are RGB colours by value; `scale` makes values into quantities; `tags` are kept as
    metadata of the file; the largest value of `dtype`, which is unsigned, is nodata. Overviews take the
    commonest value where there is a palette, else the mean.
    """

    bands: Sequence[str]
    palette: Sequence[tuple[int, int, int]] = ()
    scale: float = 1.0
    tags: Mapping[str, str] | None = None
    dtype: str = "uint8"


class MapRaster:
    """A GeoTIFF under work; `write` takes its rows in order, `close` makes it whole.

    Rows are kept until whole blocks can be compressed: no block is written twice. Raises OutputError
    where the disk is full.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], georeference: Georeference | None, layout: RasterContent
    ) -> None:
        """Create the file; `shape` is (H, W) in pixels."""
        self.path, self._layout, self._row = path, layout, 0
        self.nodata = np.iinfo(layout.dtype).max
        self._rows = np.empty((len(layout.bands), min(BLOCK, shape[0]), shape[1]), layout.dtype)
        self._held = 0
        size = {"height": shape[0], "width": shape[1], "count": len(layout.bands)}
        profile = PROFILE | size | {"dtype": layout.dtype, "nodata": self.nodata}
        located = (
            {} if georeference is None else {"crs": georeference.crs, "transform": georeference.transform}
        )
        with _named(path):
            self._file = rasterio.open(path, "w", **profile, **located)
            if georeference is not None and georeference.gcps[0]:
                self._file.gcps = georeference.gcps
            if georeference is not None and georeference.rpcs is not None:
                self._file.rpcs = georeference.rpcs
            if layout.palette:
                self._file.write_colormap(1, dict(enumerate(layout.palette)))
            self._file.descriptions = tuple(layout.bands)
            self._file.scales = (layout.scale,) * len(layout.bands)
            self._file.update_tags(**(layout.tags or {}))

    def write(self, values: np.ndarray) -> None:
        """Take the next rows, (bands, h, W)."""
        taken = 0
        while taken < values.shape[1]:
            part = values[:, taken : taken + self._rows.shape[1] - self._held]
            self._rows[:, self._held : self._held + part.shape[1]] = part
            self._held += part.shape[1]
            taken += part.shape[1]
            if self._held == self._rows.shape[1]:
                self._flush()

    def _flush(self) -> None:
        if self._held:
            window = Window(0, self._row, self._rows.shape[2], self._held)
            with _named(self.path):
                self._file.write(self._rows[:, : self._held], window=window)
            self._row += self._held
            self._held = 0

    def close(self, cloud: bool = False) -> None:
        """Write what is held and the overviews; with `cloud` arrange the file for reading over a network."""
        self._flush()
        method = Resampling.mode if self._layout.palette else Resampling.average
        with _named(self.path):
            self._file.close()
            with rasterio.open(self.path, "r+") as file:
                factors = _overviews(file.shape)
                if factors:
                    file.build_overviews(factors, method)
            if cloud:
                staged = self.path.with_name(f"cloud-{self.path.name}")
                options = {"COMPRESS": "DEFLATE", "BLOCKSIZE": BLOCK, "BIGTIFF": "IF_SAFER"}
                rasterio.shutil.copy(self.path, staged, driver="COG", **options)
                staged.replace(self.path)

    def discard(self) -> None:
        """Close the file as it is: a disk that is full has been named already."""
        with warnings.catch_warnings(action="ignore"), suppress(RasterioError, OSError):
            self._file.close()


def _overviews(shape: tuple[int, int]) -> list[int]:
    """Return the factors of overviews, halved until one fits in a block."""
    factors = []
    while max(shape) > BLOCK * 2 ** len(factors):
        factors.append(2 ** (len(factors) + 1))
    return factors


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in what GDAL reports; a raster without georeference is fine."""
    try:
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            yield
    except (RasterioError, OSError) as error:
        raise OutputError(
            path, f"cannot be written ({one_line(error)})", "check the disk's free space"
        ) from error


def attributes_path(path: Path) -> Path:
    """Return where the names and colours of a class raster's classes stand for GDAL and QGIS."""
    return path.with_name(path.name + ATTRIBUTES_SUFFIX)


def attributes_xml(names: Sequence[str], palette: Sequence[tuple[int, int, int]]) -> str:
    """Return GDAL's XML with the names of the classes 0, 1, ... and a raster attribute table of them.

    The names are GDAL's categories too, which QGIS shows in every version; it reads the table since 3.30.
    """
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    categories = ElementTree.SubElement(band, "CategoryNames")
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for name in names:
        ElementTree.SubElement(categories, "Category").text = name
    for index, field in enumerate(ATTRIBUTES):
        definition = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        for tag, value in zip(("Name", "Type", "Usage"), field, strict=True):
            ElementTree.SubElement(definition, tag).text = str(value)
    for value, name in enumerate(names):
        row = ElementTree.SubElement(table, "Row", index=str(value))
        for cell in (value, name, *palette[value]):
            ElementTree.SubElement(row, "F").text = str(cell)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def names_in(path: Path) -> list[str] | None:
    """Return the names of classes in such a file, whatever GDAL has added to it; None for another."""
    try:
        return [entry.text for entry in ElementTree.parse(path).iterfind(CATEGORIES)]
    except (OSError, ElementTree.ParseError):
        return None
