"""Change between two maps of one place: which class has become which, as a raster and in hectares."""

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio

from common.datasets import IGNORE, Colour, Dataset
from common.errors import DataError
from common.files import staged_folder
from common.numbers import aligned
from data_prep.geotiff import SETTINGS, Georeference
from data_prep.label_files import Labels
from data_prep.scene_pixels import check_georeference
from inference.map_rasters import MapRaster, RasterContent, attributes_path, attributes_xml
from inference.pixel_area import HECTARE, PixelAreas, square_metres_by_label
from inference.polygons import strips
from inference.prediction_manifest import open_map_of

RASTER, MATRIX_CSV, NUMBERS = "transitions.tif", "transitions.csv", "change.json"
NO_DATA = "no data"
PALE = 0.8  # share of white in the colour of what has not changed


@dataclass(frozen=True)
class Transitions:
    """Pixels and square metres by class before (rows) and after (columns), (C + 1, C + 1).

    The last row and the last column are of what has no data. `assumption` is what the files left open.
    """

    dataset: Dataset
    pixels: np.ndarray
    square_metres: np.ndarray
    assumption: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of rows and columns."""
        return (*self.dataset.class_names, NO_DATA)

    @property
    def hectares(self) -> np.ndarray:
        """The ground of each transition."""
        return self.square_metres / HECTARE

    @property
    def compared(self) -> float:
        """Hectares that have a class in both maps."""
        return float(self.hectares[:-1, :-1].sum())

    @property
    def changed(self) -> float:
        """Hectares whose class has changed."""
        return float(self.compared - np.trace(self.hectares[:-1, :-1]))

    def by_class(self) -> dict[str, dict[str, float]]:
        """Return hectares before and after, gained and lost, of each class where both maps have one."""
        matrix = self.hectares[:-1, :-1]
        before, after, stayed = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
        columns = {"before": before, "after": after, "lost": before - stayed, "gained": after - stayed}
        return {
            name: {key: float(column[label]) for key, column in columns.items()}
            for label, name in enumerate(self.dataset.class_names)
        }


def write_change(
    before: tuple[str, Path],
    after: tuple[str, Path],
    out: Path,
    dataset: Dataset,
    pixel_size: float | None = None,
    overwrite: bool = False,
) -> Transitions:
    """Compare two maps, (id, path), of the classes of `dataset` on one grid; write the folder `out`.

    It gets the raster RASTER, and the matrix as MATRIX_CSV and, with pixels, in NUMBERS. The maps are read in
    strips. `pixel_size` is in metres, for maps without a CRS. Raises DataError for a map that cannot be
    used, of other classes, of another size or place than the first; OutputError where `out` cannot be
    written.
    """
    with (
        rasterio.Env(**SETTINGS),
        staged_folder(out, overwrite, (NUMBERS,)) as staged,
        open_map_of(before[1], before[0], dataset) as first,
        open_map_of(after[1], after[0], dataset) as second,
    ):
        place = _common_place(first, second)
        areas = PixelAreas.of(before[1], place, first.shape, pixel_size)
        tags = {"before": before[1].name, "after": after[1].name, "dataset": dataset.name}
        transitions = _compare(first, second, areas, staged / RASTER, place, dataset, tags)
        transitions = replace(transitions, assumption=_assumption(first, second))
        (staged / MATRIX_CSV).write_text(as_csv(transitions), encoding="utf-8")
        numbers = json.dumps(tags | as_numbers(transitions), indent=1)
        (staged / NUMBERS).write_text(numbers + "\n", encoding="utf-8")
    return transitions


def _common_place(first: Labels, second: Labels) -> Georeference | None:
    """Return where both maps lie, by the one that says it best; DataError for maps of two grids."""
    if first.shape != second.shape:
        sizes = "{1}x{0}, {name} {3}x{2}".format(*second.shape, *first.shape, name=first.path.name)
        raise DataError(second.path, f"is {sizes}", "warp it to the grid of the other, or cut it alike")
    places = [each.georeference for each in (first, second) if each.georeference is not None]
    if len(places) == 2:
        check_georeference(places[0], first.shape, second, first.path.name)
    return next((place for place in places if place.has_place), next(iter(places), None))


def _assumption(first: Labels, second: Labels) -> str:
    lying, other = (first, second) if first.georeference else (second, first)
    if other.georeference or not lying.georeference:
        return ""
    return f"{other.path.name} does not say where it lies: taken for the place of {lying.path.name}"


def _compare(
    first: Labels,
    second: Labels,
    areas: PixelAreas,
    path: Path,
    place: Georeference | None,
    dataset: Dataset,
    tags: dict[str, str],
) -> Transitions:
    """Write the raster of transitions, and return how much there is of each."""
    count = len(dataset.classes)
    content = RasterContent(["transition"], _palette(dataset), 1.0, tags, transition_type(count))
    raster = MapRaster(path, first.shape, place, content)
    columns, matrices = slice(0, first.shape[1]), np.zeros((2, (count + 1) ** 2))
    try:
        for rows in strips(first.shape):
            old, new = (
                np.minimum(each.read(rows, columns), count).astype(np.intp) for each in (first, second)
            )
            both = old * (count + 1) + new
            matrices[0] += np.bincount(both.ravel(), minlength=(count + 1) ** 2)
            matrices[1] += square_metres_by_label(both, areas.rows(rows), (count + 1) ** 2)
            known = (old < count) & (new < count)
            raster.write(np.where(known, old * count + new, raster.nodata).astype(content.dtype)[None])
        raster.close()
    except BaseException:
        raster.discard()
        raise
    attributes = attributes_xml(_names(dataset), _palette(dataset))
    attributes_path(path).write_text(attributes, encoding="utf-8")
    pixels, square_metres = matrices.reshape(2, count + 1, count + 1)
    return Transitions(dataset, pixels.astype(np.int64), square_metres)


def transition_type(classes: int) -> str:
    """Return the type of the raster's values, before * classes + after, of which the largest is nodata."""
    return "uint8" if classes**2 <= IGNORE else "uint16"


def _names(dataset: Dataset) -> list[str]:
    names = dataset.class_names
    return [old if old == new else f"{old} to {new}" for old in names for new in names]


def _palette(dataset: Dataset) -> list[Colour]:
    """Return the colours of the transitions: that of the class after; pale where it was there before."""
    pale = [tuple(round(part + PALE * (255 - part)) for part in colour) for colour in dataset.palette]
    return [
        pale[new] if old == new else colour
        for old in range(len(pale))
        for new, colour in enumerate(dataset.palette)
    ]


def as_numbers(transitions: Transitions) -> dict:
    """Return all numbers for JSON."""
    return {
        "assumption": transitions.assumption or None,
        "compared_hectares": transitions.compared,
        "changed_hectares": transitions.changed,
        "by_class": transitions.by_class(),
        "rows_before": list(transitions.names),
        "columns_after": list(transitions.names),
        "hectares": transitions.hectares.tolist(),
        "pixels": transitions.pixels.tolist(),
    }


def as_csv(transitions: Transitions) -> str:
    """Return the matrix in hectares: a row for each class before, a column for each after."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["before", *transitions.names])
    for name, row in zip(transitions.names, transitions.hectares.tolist(), strict=True):
        writer.writerow([name, *row])
    return text.getvalue()


def as_text(transitions: Transitions) -> str:
    """Return the matrix in hectares and what each class has lost and gained, for a reader."""
    rows = [["before, ha", *transitions.names]]
    for name, row in zip(transitions.names, transitions.hectares, strict=True):
        rows.append([name, *(f"{value:,.2f}" for value in row)])
    sums = [["class, ha", "before", "after", "lost", "gained"]]
    for name, values in transitions.by_class().items():
        sums.append([name, *(f"{value:,.2f}" for value in values.values())])
    share = transitions.changed / transitions.compared if transitions.compared else 0
    last = f"{transitions.changed:,.2f} ha of {transitions.compared:,.2f} have changed ({100 * share:.2f} %)"
    notes = [f"note: {transitions.assumption}"] if transitions.assumption else []
    return "\n".join([*aligned(rows), "", *aligned(sums), "", last, *notes])
