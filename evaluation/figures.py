"""Figures of the paper, drawn: image, truth and maps side by side (Figure 4)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from common.datasets import IGNORE, Colour, Dataset
from common.drawing import drawn_with
from common.errors import DataError
from common.files import staged_file
from data_prep.masks import colours_from_labels
from evaluation.comparison import ComparedScene

CELL = 1.9  # inches a picture is wide
MIN_ENTRY = 0.4  # inches of an entry of the legend
GAP = 0.08  # inches between the pictures and the legend
DOTS = 200  # per inch
STYLE = {"font.family": "DejaVu Sans", "font.size": 8.5}


def column_names(
    folders: Sequence[Path],
    names: Sequence[str] | None,
    kind: str = "--pred folders",
    option: str = "--names",
) -> list[str]:
    """Return a title per folder, `names` or the folders' own; DataError for another count of names."""
    if names is None:
        return [Path(folder).resolve().name for folder in folders]
    if len(names) != len(folders):
        raise DataError(option, f"{len(names)} for {len(folders)} {kind}", "give one for each")
    return list(names)


def different_names(
    folders: Sequence[Path], names: Sequence[str] | None, kind: str = "--pred folders"
) -> list[str]:
    """Return a name per folder as `column_names`; DataError where two are the same."""
    titles = column_names(folders, names, kind)
    twice = next((name for name in titles if titles.count(name) > 1), None)
    if twice is not None:
        raise DataError("--names", f"{twice} twice for the {kind}", "give each its own name")
    return titles


def compare(
    rows: Sequence[ComparedScene], names: Sequence[str], dataset: Dataset, out: Path, overwrite: bool = False
) -> None:
    """Draw the grid image / truth / one column per name, with a legend, into the file `out`.

    There is no column of truth where the rows have none. The extension of `out` chooses the format (.png,
    .pdf, .svg).
    """
    truth = ["Ground truth"] if len(rows[0].maps) > len(names) else []
    titles = ["Image", *truth, *names]
    tallest = [row.image.shape[0] / row.image.shape[1] for row in rows]
    with drawn_with(STYLE):
        figure = Figure(figsize=(CELL * len(titles), 1))
        patches = _patches(rows, dataset)
        columns, height = _fitting_legend(figure, patches)
        legend = height + GAP
        size = (CELL * len(titles), CELL * sum(tallest) + legend + 0.22)
        figure.set_size_inches(size)
        grid = figure.subplots(len(rows), len(titles), squeeze=False, gridspec_kw={"height_ratios": tallest})
        for row, axes in zip(rows, grid, strict=True):
            _draw_row(row, axes, dataset)
        for axis, title in zip(grid[0], titles, strict=True):
            axis.set_title(title, fontsize=9, pad=4)
        edges = {"left": 0.004, "right": 0.996, "top": 1 - 0.22 / size[1], "bottom": legend / size[1]}
        figure.subplots_adjust(**edges, wspace=0.025, hspace=0.025)
        _draw_legend(figure, patches, columns)
        with staged_file(out, overwrite) as staged:
            figure.savefig(staged, dpi=DOTS)


def _draw_row(row: ComparedScene, axes: Sequence, dataset: Dataset) -> None:
    pictures = [row.image, *(colours_from_labels(labels, dataset) for labels in row.maps)]
    for axis, picture in zip(axes, pictures, strict=True):
        axis.imshow(
            picture,
            cmap="gray",
            vmin=0,
            vmax=255,
            interpolation="nearest" if picture is not row.image else "antialiased",
        )
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(linewidth=0.4, color="0.35")


def legend(dataset: Dataset) -> list[tuple[str, Colour]]:
    """Return names and colours of the classes and, where it has a colour of its own, of what is ignored."""
    entries = list(zip(dataset.class_names, dataset.palette, strict=True))
    has_own = bool(dataset.ignore.colours) or dataset.ignored_colour not in dataset.palette
    return [*entries, (dataset.ignore.name, dataset.ignored_colour)] if has_own else entries


def _patches(rows: Sequence[ComparedScene], dataset: Dataset) -> list[Patch]:
    """Return the entries of the legend; what is ignored is one where a map has it."""
    entries = legend(dataset)
    if not any((labels == IGNORE).any() for row in rows for labels in row.maps):
        entries = entries[: len(dataset.classes)]
    return [
        Patch(facecolor=np.array(colour) / 255, edgecolor="0.35", linewidth=0.5, label=name)
        for name, colour in entries
    ]


def _fitting_legend(figure, patches: Sequence[Patch]) -> tuple[int, float]:
    """Return the most columns with which the legend fits into the width, and its height in inches."""
    for columns in range(min(len(patches), int(figure.get_figwidth() / MIN_ENTRY)), 0, -1):
        drawn = _draw_legend(figure, patches, columns)
        extent = drawn.get_window_extent()
        drawn.remove()
        if extent.width <= figure.bbox.width or columns == 1:
            return columns, extent.height / figure.dpi


def _draw_legend(figure, patches: Sequence[Patch], columns: int):
    return figure.legend(
        handles=patches,
        loc="lower center",
        ncols=columns,
        frameon=False,
        handlelength=1.2,
        handleheight=1.0,
        handletextpad=0.5,
        columnspacing=1.0,
        borderaxespad=0.3,
    )
