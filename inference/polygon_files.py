"""Polygons of maps as GeoPackage, GeoJSON or FlatGeobuf; a GeoPackage has the classes' colours for QGIS."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

from common.datasets import Dataset
from common.errors import DataError, OutputError
from common.files import refuse_existing, staged_file
from common.numbers import plural
from common.templates import templates
from data_prep.geotiff import SETTINGS, georeference_of, one_line, open_geotiff, read_window
from data_prep.label_files import Labels, RasterLabels
from data_prep.scene_pixels import check_georeference
from data_prep.scenes import is_raster
from inference.pixel_area import HECTARE, PixelAreas, horizontal_crs
from inference.polygons import Patch, ReadRows, patches, sieved, strips
from inference.prediction_manifest import open_map_of
from inference.scene_maps import CONFIDENCE_SUFFIX

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".fgb": "FlatGeobuf"}
APPENDING = "GPKG"  # the driver that can be written in parts
VERSION = "1.2"  # of GeoPackage, which every QGIS knows
UTC = 100  # as GDAL says it of a time
BATCH = 10_000  # polygons that are written at once
LAYER = "polygons"
CLASS = "class"  # column of the class number
COLUMNS = {"scene": object, CLASS: np.int32, "class_name": object, "hectares": float, "confidence": float}
AS_A_PICTURE_LIES = Affine.scale(1, -1)  # in QGIS: a pixel is 1 x 1, rows go down from 0


@dataclass(frozen=True)
class SmallestArea:
    """The least that a polygon may have, in hectares or in pixels."""

    value: float
    in_pixels: bool

    def pixels(self, areas: PixelAreas) -> int:
        """Return how many pixels of a map that is, of its smallest; at most all."""
        smallest = min(areas.rows(rows).min() for rows in strips(areas.shape))
        count = self.value if self.in_pixels else self.value * HECTARE / smallest
        return math.ceil(min(count, math.prod(areas.shape)))


@dataclass
class PolygonSummary:
    """What has been written: scenes, polygons and hectares."""

    scenes: int = 0
    polygons: int = 0
    hectares: float = 0.0

    def line(self, out: Path) -> str:
        """Return it in a line."""
        of = plural(self.scenes, "scene")
        return f"{out}: {plural(self.polygons, 'polygon')} of {of}, {self.hectares:,.2f} ha"


def check_output(out: Path, overwrite: bool) -> None:
    """Raise OutputError where `out` exists, unless `overwrite`, or its ending is not of DRIVERS."""
    refuse_existing(out, overwrite)
    if out.suffix.lower() not in DRIVERS:
        fact = f"does not end in {', '.join(DRIVERS)}"
        raise OutputError(out, fact, "name the file by the format that it is to have, as maps.gpkg")


def write_polygons(
    maps: Mapping[str, Path],
    out: Path,
    dataset: Dataset,
    pixel_size: float | None = None,
    least: SmallestArea | None = None,
    tolerance: float = 0.0,
    overwrite: bool = False,
) -> PolygonSummary:
    """Write the polygons of maps, by scene id, into one file of one layer; return what it holds.

    `pixel_size`, in metres, is for maps without a CRS; their polygons lie where QGIS shows the picture. With
    `least` smaller patches take the class of their largest neighbour first; `tolerance` simplifies borders,
    see `patches`. Raises DataError for a map that cannot be used, of other classes than those of `dataset`,
    or whose CRS is not that of the others; OutputError where `out` cannot be written.
    """
    check_output(out, overwrite)
    crs = common_crs(maps)
    summary = PolygonSummary()
    with staged_file(out, overwrite) as staged:
        staged.unlink()  # an empty file is not a GeoPackage
        layer = _Layer(staged, out, crs)
        for id, path in maps.items():
            with _opened(id, path, dataset, pixel_size) as (labels, areas, confidence), ExitStack() as stack:
                read = partial(labels.read, columns=slice(0, labels.shape[1]))
                if least is not None and (count := least.pixels(areas)) > 1:
                    read = stack.enter_context(sieved(read, areas.shape, count, out.parent))
                for patch in patches(read, areas, confidence, tolerance):
                    layer.add(id, dataset, patch, areas.from_pixels or AS_A_PICTURE_LIES)
                    summary.polygons += 1
                    summary.hectares += patch.hectares
            summary.scenes += 1
        layer.close(dataset)
    return summary


def read_polygons(path: Path, scene: str) -> list[tuple[int, shapely.Geometry]]:
    """Return the polygons of a scene in a file of `write_polygons`, each with its label."""
    remedy = "give a file of dfcnet polygons"
    try:
        with warnings.catch_warnings(action="ignore"):
            table = pyogrio.raw.read(path, layer=0, columns=["scene", CLASS])
    except (DataLayerError, DataSourceError) as error:
        raise DataError(path, f"cannot be read ({one_line(error)})", remedy) from error
    names, _, shapes, columns = table[0]["fields"], table[1], table[2], table[3]
    if not {"scene", CLASS} <= {*names}:
        raise DataError(path, f"lacks the columns scene and {CLASS}", remedy)
    found = dict(zip(names, columns, strict=True))
    polygons = [
        (int(label), shapely.from_wkb(shape))
        for id, label, shape in zip(found["scene"], found[CLASS], shapes, strict=True)
        if id == scene
    ]
    if not polygons:
        raise DataError(path, f"has no polygon of scene {scene}", "choose another --scene")
    return polygons


def common_crs(maps: Mapping[str, Path]) -> str | None:
    """Return the CRS of all maps as WKT; DataError where they have several."""
    first, found = None, None
    for number, path in enumerate(maps.values()):
        crs = None
        if is_raster(path):
            with rasterio.Env(**SETTINGS), open_geotiff(path) as raster:
                place = georeference_of(raster)
                crs = horizontal_crs(path, place.grid[0]) if place.has_place else None
        if number and crs != found:
            names = [each.name if each else "no CRS" for each in (crs, found)]
            fact = f"has {names[0]}, {first.name} has {names[1]}"
            raise DataError(path, fact, "give maps of one CRS, or write several files")
        first, found = first or path, crs
    return found and found.to_wkt()


@contextmanager
def _opened(
    id: str, path: Path, dataset: Dataset, pixel_size: float | None
) -> Iterator[tuple[Labels, PixelAreas, ReadRows | None]]:
    """Open a map: its labels, the areas of its pixels and, where it has a confidence raster, rows of that."""
    with open_map_of(path, id, dataset) as labels, ExitStack() as stack:
        areas = PixelAreas.of(path, labels.georeference, labels.shape, pixel_size)
        beside = path.with_name(f"{id}{CONFIDENCE_SUFFIX}")
        if not beside.exists():
            yield labels, areas, None
            return
        stack.enter_context(rasterio.Env(**SETTINGS))
        raster = stack.enter_context(open_geotiff(beside))
        if raster.shape != labels.shape or raster.count != 1:
            fact = f"is {raster.width}x{raster.height} of {plural(raster.count, 'band')}"
            remedy = "remove it, or predict the scene again with --confidence"
            raise DataError(beside, f"{fact}, not one band as large as {path.name}", remedy)
        if isinstance(labels, RasterLabels):
            check_georeference(georeference_of(raster), raster.shape, labels, beside.name)

        def confidence(rows: slice) -> np.ndarray:
            values = read_window(raster, 1, rows, slice(0, raster.width))
            return np.where(values == raster.nodata, np.nan, values * raster.scales[0])

        yield labels, areas, confidence


class _Layer:
    """The layer under work: polygons are gathered, and written in batches where the format allows it."""

    def __init__(self, staged: Path, out: Path, crs: str | None) -> None:
        self._staged, self._out, self._driver = staged, out, DRIVERS[out.suffix.lower()]
        self._crs, self._begun = crs, False
        self._rows: list[tuple] = []
        self._polygons: list[bytes] = []

    def add(self, id: str, dataset: Dataset, patch: Patch, from_pixels: Affine) -> None:
        """Take a patch of the scene `id`."""
        name = dataset.class_names[patch.label]
        self._rows.append((id, patch.label, name, patch.hectares, patch.confidence))
        placed = shapely.transform(
            patch.polygon, lambda points: np.column_stack(from_pixels @ (points[:, 0], points[:, 1]))
        )
        self._polygons.append(shapely.to_wkb(placed))
        if self._driver == APPENDING and len(self._rows) == BATCH:
            self._flush()

    def close(self, dataset: Dataset) -> None:
        """Write what is held, and the style."""
        if self._rows or not self._begun:
            self._flush()
        if self._driver == APPENDING:
            row = _style(dataset)
            columns = [
                np.array([value], object if isinstance(value, str) else None) for value in row.values()
            ]
            utc = {"update_time": np.array([UTC])}
            self._write(None, columns, list(row), layer="layer_styles", gdal_tz_offsets=utc)

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in COLUMNS)
        values = [
            np.array(list(column), kind) for column, kind in zip(columns, COLUMNS.values(), strict=True)
        ]
        # RFC 7946: longitudes and latitudes of WGS 84, which readers of GeoJSON expect.
        options = {"RFC7946": "YES"} if self._driver == "GeoJSON" and self._crs else {}
        version = {"VERSION": VERSION} if self._driver == "GPKG" else {}
        self._write(
            np.array(self._polygons, object),
            values,
            list(COLUMNS),
            layer=LAYER,
            geometry_type="Polygon",
            crs=self._crs,
            append=self._begun,
            layer_options=options,
            dataset_options=version,
        )
        self._rows, self._polygons, self._begun = [], [], True

    def _write(self, *values: object, **options) -> None:
        write_layer(self._staged, self._out, *values, driver=self._driver, **options)


def write_layer(
    staged: Path, out: Path, geometry: np.ndarray | None, columns: list, names: Sequence[str], **options
) -> None:
    """Write a layer of WKB and columns into `staged`, as pyogrio.raw does; OutputError that names `out`."""
    try:
        with warnings.catch_warnings(action="ignore"):  # pictures have no CRS
            pyogrio.raw.write(staged, geometry, columns, names, **options)
    except (DataSourceError, DataLayerError, FieldError, FeatureError) as error:
        fact = f"cannot be written ({one_line(error).replace(str(staged), str(out))})"
        raise OutputError(out, fact, "check the disk's free space") from error


def _style(dataset: Dataset) -> dict[str, object]:
    """Return the row of QGIS's table of styles that gives the classes their colours."""
    classes = list(zip(dataset.class_names, dataset.palette, strict=True))
    return {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": LAYER,
        "f_geometry_column": "geom",
        "styleName": dataset.name,
        "styleQML": templates("qgis").get_template("classes.qml.j2").render(column=CLASS, classes=classes),
        "styleSLD": "",
        "useAsDefault": True,
        "description": dataset.title,
        "owner": "",
        "ui": "",
        "update_time": np.datetime64("now", "ms"),
    }
