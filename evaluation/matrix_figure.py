"""The confusion matrix as a picture: of each true class's pixels, the share given to each class."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.drawing import check_picture, drawn_with
from common.files import staged_file
from evaluation.evaluation import Evaluation
from evaluation.figures import DOTS, STYLE
from evaluation.metrics import MAIN
from evaluation.score_text import percent

CELL = 0.52  # inches
LEFT, RIGHT, ABOVE, BELOW = 1.05, 0.2, 1.0, 0.08  # inches around the cells, for the names
NARROWEST = 3.2  # inches of a panel: its title stands in one line
DARK = 0.55  # from this share on the text is white


def draw_matrices(evaluations: Mapping[str, Evaluation], out: Path, overwrite: bool = False) -> None:
    """Draw one panel per set of maps, side by side, into `out` (.png, .pdf, .svg).

    A last column stands at the right where a map gives no class to a scored pixel.
    """
    out = Path(out)
    check_picture(out, overwrite)
    panels = {name: _shares(evaluation) for name, evaluation in evaluations.items()}
    widths = [max(LEFT + CELL * shares.shape[1] + RIGHT, NARROWEST) for shares in panels.values()]
    cells = CELL * max(shares.shape[0] for shares in panels.values())
    width, height = sum(widths), ABOVE + cells + BELOW
    with drawn_with(STYLE):
        figure = Figure(figsize=(width, height))
        left = 0.0
        for (name, shares), panel in zip(panels.items(), widths, strict=True):
            box = ((left + LEFT) / width, BELOW / height, CELL * shares.shape[1] / width, cells / height)
            _draw(figure.add_axes(box), shares, evaluations[name])
            title = f"{name}, {MAIN.title} {percent(evaluations[name].measured[MAIN.key])} %"
            figure.text((left + 0.06) / width, 1 - 0.06 / height, title, va="top", weight="bold")
            below = "share of each true class, %"
            figure.text((left + 0.06) / width, 1 - 0.22 / height, below, va="top", color="0.35")
            left += panel
        with staged_file(out, overwrite) as staged:
            figure.savefig(staged, dpi=DOTS)


def _shares(evaluation: Evaluation) -> np.ndarray:
    """Return each row of the matrix divided by its sum, NaN for a class without truth."""
    matrix = evaluation.measured.matrix
    if not matrix[:, -1].any():
        matrix = matrix[:, :-1]
    total = evaluation.measured.matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, total, out=np.full(matrix.shape, np.nan), where=total > 0)


def _draw(axes: Axes, shares: np.ndarray, evaluation: Evaluation) -> None:
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="0.93")
    axes.imshow(np.ma.masked_invalid(shares), cmap=colours, vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            colour = "white" if share >= DARK else "0.15"
            axes.text(column, row, _cell(share), ha="center", va="center", color=colour)
    for row in np.flatnonzero(np.isnan(shares[:, 0])):
        middle = (shares.shape[1] - 1) / 2
        axes.text(middle, row, "not in the truth", ha="center", va="center", color="0.35")
    names = evaluation.columns
    axes.set_yticks(range(shares.shape[0]), names[: shares.shape[0]])
    axes.set_xticks(range(shares.shape[1]), names[: shares.shape[1]], rotation=35, ha="left", va="baseline")
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0, pad=3)
    axes.spines[:].set(linewidth=0.4, color="0.35")
    axes.set_ylabel("truth", labelpad=3)


def _cell(share: float) -> str:
    """Return a share in percent, short enough for a cell; what rounds to 0 but is not shows as <0.1."""
    if 0 < share < 0.0005:
        return "<0.1"
    return "0" if share == 0 else f"{100 * share:.1f}"
