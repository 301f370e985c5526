"""A sample as a file that an interpreter fills in, CSV or GeoPackage, and its design on record beside it."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from pydantic import ValidationError
from pyogrio import raw
from pyogrio.errors import DataLayerError, DataSourceError

from common.errors import DataError, OutputError
from common.files import read_bytes, readable, refuse_existing, staged_file
from common.numbers import plural
from common.settings import explain_error
from evaluation.sampling import Point, SampleDesign, drawn_checksum
from inference.polygon_files import VERSION, write_layer

# The columns, and what they hold of a Point; a GeoPackage has a geometry in place of x and y.
COLUMNS = {
    "id": "id",
    "map": "map",
    "class": "number",
    "class_name": "name",
    "x": "x",
    "y": "y",
    "row": "row",
    "col": "column",
    "reference": "reference",
}
PLACE = ("x", "y")
SEED = "seed"
NEEDED = [column for column in COLUMNS if column not in PLACE]
CSV_SUFFIX, GPKG_SUFFIX = ".csv", ".gpkg"
DELIMITERS = ",;\t"  # spreadsheets write what their language has
LAYER = "sample"
NO_DESIGN = "without it nobody knows with which probability its pixels were drawn"


def design_path(sample: Path) -> Path:
    """Return where the design of a sample stands: beside it."""
    return sample.with_name(f"{sample.name}.design.json")


def check_sample_path(path: Path, overwrite: bool) -> None:
    """Raise OutputError if a sample cannot be written to `path`."""
    if path.suffix.lower() not in (CSV_SUFFIX, GPKG_SUFFIX):
        raise OutputError(path, f"has the extension {path.suffix!r}", f"use {GPKG_SUFFIX} or {CSV_SUFFIX}")
    for each in (path, design_path(path)):
        refuse_existing(each, overwrite)


def write_sample(path: Path, points: Sequence[Point], design: SampleDesign, overwrite: bool = False) -> None:
    """Write a sample and, beside it, its design; both or neither."""
    check_sample_path(path, overwrite)
    with ExitStack() as stack:
        record = stack.enter_context(staged_file(design_path(path), overwrite))
        record.write_text(design.model_dump_json(indent=1) + "\n", encoding="utf-8")
        staged = stack.enter_context(staged_file(path, overwrite))
        if path.suffix.lower() == CSV_SUFFIX:
            staged.write_text(_as_csv(points, design.seed), encoding="utf-8")
        else:
            _write_gpkg(staged, path, points, design)


def _as_csv(points: Sequence[Point], seed: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, SEED])
    writer.writerows([*(getattr(point, name) for name in COLUMNS.values()), seed] for point in points)
    return text.getvalue()


def _write_gpkg(staged: Path, out: Path, points: Sequence[Point], design: SampleDesign) -> None:
    staged.unlink()  # GDAL would take what is there for a GeoPackage
    columns = {column: [getattr(point, COLUMNS[column]) for point in points] for column in NEEDED}
    columns[SEED] = [design.seed] * len(points)
    kinds = [object if isinstance(values[0], str) else np.int32 for values in columns.values()]
    write_layer(
        staged,
        out,
        shapely.to_wkb(shapely.points([(point.x, point.y) for point in points])),
        [np.array(values, kind) for values, kind in zip(columns.values(), kinds, strict=True)],
        list(columns),
        layer=LAYER,
        driver="GPKG",
        geometry_type="Point",
        crs=design.crs,
        dataset_options={"VERSION": VERSION},
    )


def read_design(sample: Path) -> SampleDesign:
    """Return the design of a sample; DataError where there is none or it cannot be read."""
    with readable(sample):
        sample.open("rb").close()
    path = design_path(sample)
    if not path.is_file():
        raise DataError(sample, f"has no design record {path.name}", f"put it back: {NO_DESIGN}")
    try:
        return SampleDesign.model_validate_json(read_bytes(path))
    except ValidationError as error:
        fact = f"is not the design of a sample ({explain_error(error)[0]})"
        raise DataError(path, fact, "put the file back that dfcnet sample wrote") from error


def read_sample(path: Path, design: SampleDesign) -> list[Point]:
    """Return the points of a sample, of which interpreters have changed the references alone.

    Columns may stand in another order and others beside them. Raises DataError where points are missing,
    added, twice there or moved: then they are not those that were drawn with known probabilities.
    """
    rows = _read_csv(path) if path.suffix.lower() == CSV_SUFFIX else _read_gpkg(path)
    try:
        points = [_point(row) for row in rows]
    except (ValueError, TypeError) as error:
        raise DataError(path, f"has a point without a number ({error})", "undo that change") from error
    drawn = sum(stratum.points for stratum in design.strata)
    ids = Counter(point.id for point in points)
    remedy = "take the sample as it was drawn: with other points its probabilities are not known"
    if twice := next((id for id, count in ids.items() if count > 1), None):
        raise DataError(path, f"has point {twice} {ids[twice]} times", remedy)
    if len(points) != drawn:
        raise DataError(path, f"has {plural(len(points), 'point')}, {drawn} were drawn", remedy)
    sizes = {its.id: (its.height, its.width) for its in design.maps}
    # Spreadsheets take 007 for a number.
    shortened = {its.id.lstrip("0"): its.id for its in design.maps}
    points = [
        point if point.map in sizes else replace(point, map=shortened.get(point.map, point.map))
        for point in points
    ]
    for point in points:
        height, width = sizes.get(point.map, (0, 0))
        if not (0 <= point.row < height and 0 <= point.column < width):
            fact = f"has point {point.id} at row {point.row}, column {point.column} of {point.map}"
            raise DataError(path, f"{fact}, which lies outside of the maps", remedy)
    if drawn_checksum(points) != design.drawn:
        raise DataError(path, "has other pixels or classes of the map than were drawn", remedy)
    return points


def _point(row: Mapping[str, object]) -> Point:
    """Return the point of a row; where it lies is read from its pixel alone."""
    number, line, column = (int(row[name]) for name in ("class", "row", "col"))
    reference = "" if row["reference"] is None else str(row["reference"]).strip()
    return Point(
        int(row["id"]), str(row["map"]), number, str(row["class_name"]), 0.0, 0.0, line, column, reference
    )


def _read_csv(path: Path) -> list[dict]:
    with readable(path), path.open(encoding="utf-8-sig", newline="") as file:
        try:
            header = file.readline()
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=max(DELIMITERS, key=header.count)))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(path, f"is not CSV in UTF-8 ({error})", "export it again") from error
    _check_columns(path, rows[0] if rows else ())
    return rows


def _read_gpkg(path: Path) -> list[dict]:
    try:
        meta, _, _, values = raw.read(path, layer=LAYER, read_geometry=False)
    except (DataSourceError, DataLayerError) as error:
        fact = f"holds no layer {LAYER} ({' '.join(str(error).split())})"
        raise DataError(path, fact, "give the sample that dfcnet sample wrote") from error
    _check_columns(path, meta["fields"])
    return [dict(zip(meta["fields"], row, strict=True)) for row in zip(*values, strict=True)]


def _check_columns(path: Path, columns: Iterable[str]) -> None:
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        raise DataError(path, f"has no column {', '.join(missing)}", "keep those that dfcnet sample wrote")
