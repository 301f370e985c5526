"""From a map to areas: the map of a scene, its polygons, and how much each class covers, with intervals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.path import Path as Line

from common.datasets import Dataset
from common.drawing import check_picture, drawn_with
from common.files import staged_file
from data_prep.masks import colours_from_labels
from evaluation.figures import DOTS, STYLE
from evaluation.page.areas import AreaFile

SIDE = 2.2  # inches of the map, and of the polygons
EDGE = "0.35"


def draw_areas(
    labels: np.ndarray,
    polygons: Sequence[tuple[int, shapely.Geometry]],
    areas: AreaFile,
    dataset: Dataset,
    out: Path,
    overwrite: bool = False,
) -> None:
    """Draw a scene's `labels` (H, W), its `polygons` with their labels, and `areas` into `out`.

    The extension of `out` chooses the format (.png, .pdf, .svg). The areas are those of all maps that were
    sampled: as a bar what the maps say, as a point with its 95 % interval what the sample does.
    """
    check_picture(out, overwrite)
    with drawn_with(STYLE):
        figure = Figure(figsize=(3.4 * SIDE, 1.3 * SIDE), layout="constrained")
        drawn = figure.subplots(1, 3, gridspec_kw={"width_ratios": (1, 1, 1.1)})
        drawn[0].imshow(colours_from_labels(labels, dataset), interpolation="nearest")
        _draw_polygons(drawn[1], polygons, dataset)
        for axis, title in zip(drawn, ("Map", "Polygons", "Hectares"), strict=True):
            axis.set_title(title, fontsize=9)
            axis.spines[:].set(linewidth=0.4, color=EDGE)
        for axis in drawn[:2]:
            axis.set(xticks=[], yticks=[])
        _draw_hectares(drawn[2], areas, dataset)
        with staged_file(out, overwrite) as staged:
            figure.savefig(staged, dpi=DOTS)


def _draw_polygons(axis: Axes, polygons: Sequence[tuple[int, shapely.Geometry]], dataset: Dataset) -> None:
    lines = [
        Line.make_compound_path(*(Line(ring.coords, closed=True) for ring in _rings(polygon)))
        for _, polygon in polygons
    ]
    colours = [np.array(dataset.palette[label]) / 255 for label, _ in polygons]
    axis.add_collection(PathCollection(lines, facecolors=colours, edgecolors="0.2", linewidths=0.5))
    axis.set_aspect("equal")
    left, bottom, right, top = shapely.total_bounds([polygon for _, polygon in polygons])
    axis.set(xlim=(left, right), ylim=(bottom, top))


def _rings(polygon: shapely.Geometry) -> list[shapely.LinearRing]:
    return [ring for part in shapely.get_parts(polygon) for ring in (part.exterior, *part.interiors)]


def _draw_hectares(axis: Axes, areas: AreaFile, dataset: Dataset) -> None:
    rows = np.arange(len(dataset.classes))
    colours = [np.array(colour) / 255 for colour in dataset.palette]
    mapped = [areas.mapped_hectares[name] for name in dataset.class_names]
    axis.barh(rows, mapped, 0.7, color=colours, edgecolor=EDGE, linewidth=0.5, label="in the maps")
    estimates = [areas.hectares[name] for name in dataset.class_names]
    values = np.array([np.nan if each.value is None else each.value for each in estimates])
    bounds = np.array([[np.nan if bound is None else bound for bound in each.interval] for each in estimates])
    spread = np.abs(bounds.T - values)
    axis.errorbar(values, rows, xerr=spread, fmt="o", color="black", markersize=3, capsize=2.5, linewidth=1)
    axis.set_yticks(rows, dataset.class_names)
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.set_xlabel("bar: in the maps; point: by the sample, 95 %", fontsize=7.5)
