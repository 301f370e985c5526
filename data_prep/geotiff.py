"""GeoTIFFs opened strictly and read in windows: a damaged or other file is an error that names it."""

import logging
import math
import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError  # of attributes read late: rasterio has no public name for it
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.transform import RPCTransformer, from_gcps
from rasterio.warp import transform
from rasterio.windows import Window

from common.errors import DataError
from common.files import readable
from data_prep.tiff_tags import read_tags, refuse_other_colours, refuse_turned

MAX_SIDE = 1 << 20  # pixels; more is a broken header
MAX_BLOCK = 1 << 28  # bytes that must be decoded at once
CHUNK = 1 << 20  # bytes that are decompressed at once to check them
CACHE_BYTES = 64 << 20  # GDAL's own default is a share of the machine's memory
# Only what the file itself holds: no neighbouring .aux.xml, .ovr or .msk, and nothing from the network.
SETTINGS = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GTIFF_IGNORE_READ_ERRORS": "NO",
}
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of TIFF and BigTIFF
# What GDAL reports becomes an error here, or does not matter: no lines on stderr.
logging.getLogger("rasterio").addHandler(logging.NullHandler())


Point = tuple[float, float]
NOWHERE = (math.inf, math.inf)


@dataclass(frozen=True)
class Georeference:
    """Where a raster lies: what its maps take over."""

    crs: object
    transform: object
    gcps: tuple[list, object]
    rpcs: object

    @property
    def grid(self) -> tuple[object, object] | None:
        """The CRS, which may be None, and the transform from pixels; None where neither is known."""
        if self.gcps[0]:
            return self.gcps[1], from_gcps(self.gcps[0])
        return None if self.transform.is_identity else (self.crs, self.transform)

    @property
    def has_place(self) -> bool:
        """Whether it says where on Earth the raster lies, and so how large its pixels are."""
        return self.grid is not None and self.grid[0] is not None

    def pixels_apart(self, other: "Georeference", shape: tuple[int, int]) -> float:
        """Return how far, in pixels, the corners of a raster of `shape` (H, W) lie from those of `other`.

        0 where they do not say it in the same way: by a grid, or by rational polynomials (RPCs). CRSs are
        compared by what PROJ makes of the corners, so the horizontal part of a compound one is the same
        place; where one raster has none, it is taken for the other's. Infinite where there is no way from
        one CRS, or from one raster's RPCs, to the other's.
        """
        corners = [(x, y) for x in (0, shape[1]) for y in (0, shape[0])]
        moved = [*self._moved_by_grid(other, corners), *self._moved_by_rpcs(other, corners)]
        distances = [math.dist(point, corner) for point, corner in zip(moved, 2 * corners, strict=False)]
        return max(distances, default=0.0) if all(map(math.isfinite, distances)) else math.inf

    def _moved_by_grid(self, other: "Georeference", corners: list[Point]) -> list[Point]:
        """Return the pixels (x, y) of this raster's grid where `corners` of the other lie by its grid."""
        if self.grid is None or other.grid is None:
            return []
        (crs, from_pixels), (other_crs, other_from_pixels) = self.grid, other.grid
        xs, ys = zip(*(other_from_pixels @ corner for corner in corners), strict=True)
        if crs is not None and other_crs is not None and crs != other_crs:
            try:
                xs, ys, *_ = transform(other_crs, crs, xs, ys)
            except (RasterioError, CPLE_BaseError):
                return [NOWHERE] * len(corners)
        return [~from_pixels @ point for point in zip(xs, ys, strict=True)]

    def _moved_by_rpcs(self, other: "Georeference", corners: list[Point]) -> list[Point]:
        """Return the same by the RPCs of both, on the ground at the mean height of the other's."""
        if self.rpcs is None or other.rpcs is None or self.rpcs == other.rpcs:
            return []
        columns, rows = zip(*corners, strict=True)
        height = {"rpc_height": other.rpcs.height_off}
        try:
            with RPCTransformer(other.rpcs, **height) as there, RPCTransformer(self.rpcs, **height) as here:
                ground = there.xy(rows, columns, offset="ul")
                rows, columns = here.rowcol(*ground, op=float)
        except (RasterioError, CPLE_BaseError):
            return [NOWHERE] * len(corners)
        return list(zip(columns, rows, strict=True))


def georeference_of(dataset: rasterio.DatasetReader) -> Georeference:
    """Return where a dataset lies; a plain TIFF has no CRS and the identity as transform."""
    return Georeference(dataset.crs, dataset.transform, dataset.gcps, dataset.rpcs)


@contextmanager
def open_geotiff(path: Path) -> Iterator[rasterio.DatasetReader]:
    """Open a GeoTIFF inside `rasterio.Env(**SETTINGS)`; DataError if it is not one or cannot be read."""
    try:
        # The driver is fixed: GDAL would take a text file of another format and follow paths in it.
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            dataset = rasterio.open(path, driver="GTiff")
    except (RasterioError, ValueError) as error:
        raise DataError(
            path, f"is not a GeoTIFF ({one_line(error)})", "fetch or export the file again"
        ) from error
    with dataset:
        height, width = dataset.shape
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise DataError(path, f"is {width}x{height} pixels", f"cut it to at most {MAX_SIDE} a side")
        if complex_types := sorted(kind for kind in set(dataset.dtypes) if kind.startswith("complex")):
            raise DataError(path, f"has bands of {complex_types[0]}", "export the bands as real numbers")
        if not abs(dataset.transform.determinant) > 0 or not all(map(math.isfinite, dataset.transform)):
            fact = f"has pixels without an area by its transform {tuple(dataset.transform)[:6]}"
            raise DataError(path, fact, "correct it, as with rio edit-info --transform")
        rows, columns = dataset.block_shapes[0]
        if rows * columns * dataset.count * np.dtype(dataset.dtypes[0]).itemsize > MAX_BLOCK:
            fact = f"is stored in blocks of {columns}x{rows} pixels"
            raise DataError(path, fact, "export it again in tiles of 256x256 or 512x512")
        _refuse_two_readings(Path(path), dataset)
        try:
            yield dataset
        except CPLE_BaseError as error:
            raise damaged(dataset, error) from error


def open_without_overviews(dataset: rasterio.DatasetReader) -> rasterio.DatasetReader:
    """Open a GeoTIFF again, so that what is shrunk comes from its pixels: overviews may be means.

    What it is opened as does not know whether it has a transform; ask `dataset` where it lies.
    """
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
        return rasterio.open(dataset.name, driver="GTiff", OVERVIEW_LEVEL="NONE")


def _refuse_two_readings(path: Path, dataset: rasterio.DatasetReader) -> None:
    """Raise DataError for a file that can be read in more than one way."""
    with readable(path), path.open("rb") as file:
        tags = read_tags(file)
    refuse_turned(tags, path)
    refuse_other_colours(tags, path)
    if pages := dataset.subdatasets:
        raise DataError(path, f"has {len(pages)} pages", "save the one that counts alone")
    mask = path.with_name(f"{path.name}.msk")
    if mask.exists():
        remedy = "put it inside the file, or remove it: what stands beside a file is not read"
        raise DataError(mask, f"says where {path.name} has data", remedy)


def read_window(
    dataset: rasterio.DatasetReader,
    bands: int | list[int],
    rows: slice,
    columns: slice,
    shape: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return a window of one band, (h, w), or of several, (bands, h, w); DataError where it is damaged.

    With `shape` (h, w) it is shrunk to that by nearest neighbour, from overviews where there are any.
    """
    size = None if shape is None or isinstance(bands, int) else (len(bands), *shape)
    if shape is None:
        _check_blocks(dataset, [bands] if isinstance(bands, int) else bands, rows, columns)
    try:
        return dataset.read(bands, window=Window.from_slices(rows, columns), out_shape=size or shape)
    except (RasterioError, ValueError, MemoryError) as error:
        raise damaged(dataset, error) from error


def _check_blocks(dataset: rasterio.DatasetReader, bands: list[int], rows: slice, columns: slice) -> None:
    """Raise DataError where a block of a window does not have the checksum that Deflate gives it.

    GDAL passes over it, and gives other pixels.
    """
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    if structure.get("COMPRESSION") != "DEFLATE":
        return
    height, width = dataset.block_shapes[0]
    version = os.stat(dataset.name).st_mtime_ns
    for band in bands if structure.get("INTERLEAVE") == "BAND" else [1]:
        for down in range(rows.start // height, -(-rows.stop // height)):
            for right in range(columns.start // width, -(-columns.stop // width)):
                place, length = (
                    dataset.get_tag_item(f"BLOCK_{what}_{right}_{down}", "TIFF", bidx=band)
                    for what in ("OFFSET", "SIZE")
                )
                if place is not None and not _is_sound(dataset.name, version, int(place), int(length or 0)):
                    raise damaged(dataset, ValueError(f"checksum of the block at byte {place}"))


@lru_cache(maxsize=1 << 16)
def _is_sound(name: str, version: int, place: int, length: int) -> bool:
    """Return whether so many bytes of a file, as it is since `version`, are a whole stream of Deflate."""
    with readable(Path(name)), open(name, "rb") as file:
        file.seek(place)
        packed = file.read(length)
    stream = zlib.decompressobj()
    try:
        while packed and not stream.eof:
            stream.decompress(packed, CHUNK)
            packed = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof


def valid_window(
    dataset: rasterio.DatasetReader,
    rows: slice,
    columns: slice,
    shape: tuple[int, int] | None = None,
    bands: Sequence[int] = (),
    all_bands: bool = True,
    transparency: bool = True,
) -> np.ndarray:
    """Return where a dataset has data, bool (h, w): by its nodata value, mask band or alpha band.

    By a nodata value a pixel has data where any band has; if `bands` are given, where `all_bands` of these
    have, or any. Without `transparency` an alpha band is one like the others. `shape` as in `read_window`.
    """
    kinds, window = dataset.colorinterp, Window.from_slices(rows, columns)
    try:
        with warnings.catch_warnings(action="ignore", category=NodataShadowWarning):  # alpha counts below
            if bands and MaskFlags.nodata in dataset.mask_flag_enums[bands[0] - 1]:
                size = None if shape is None else (len(bands), *shape)
                masks = dataset.read_masks(list(bands), window=window, out_shape=size) > 0
                valid = masks.all(axis=0) if all_bands else masks.any(axis=0)
            else:
                valid = dataset.dataset_mask(window=window, out_shape=shape) > 0
    except (RasterioError, ValueError, MemoryError) as error:
        raise damaged(dataset, error) from error
    # rasterio asks the first band alone whether there is alpha: it is not seen where it comes first.
    if transparency and ColorInterp.alpha in kinds and MaskFlags.alpha not in dataset.mask_flag_enums[0]:
        valid &= read_window(dataset, kinds.index(ColorInterp.alpha) + 1, rows, columns, shape) > 0
    return valid


def damaged(dataset: rasterio.DatasetReader, error: Exception) -> DataError:
    """Return the error of a dataset that GDAL cannot read through."""
    return DataError(dataset.name, f"is damaged ({one_line(error)})", "fetch or export the file again")


def one_line(error: Exception) -> str:
    """Return what GDAL itself says, in one line."""
    cause = error.__cause__ if isinstance(error, RasterioIOError) and error.__cause__ else error
    return " ".join(str(cause).split())
