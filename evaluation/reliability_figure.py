"""The reliability diagram: how often a net is right, by how sure it is, before and after calibration."""

from pathlib import Path

from matplotlib.figure import Figure

from common.drawing import check_picture, drawn_with
from common.files import staged_file
from evaluation.calibration import BINS
from evaluation.calibration_files import CalibrationFile, ReliabilityBins
from evaluation.figures import DOTS, STYLE

SIDE = 2.6  # inches of a panel
RIGHT, GAP = "#1c5fa8", "#f0955c"  # what is right, and what is missing or too much


def draw_reliability(calibration: CalibrationFile, out: Path, overwrite: bool = False) -> None:
    """Draw both panels, and beneath each the share of pixels in its bins, into `out` (.png, .pdf, .svg)."""
    check_picture(out, overwrite)
    panels = {"before": calibration.before, f"after, T = {calibration.temperature:.2f}": calibration.after}
    with drawn_with(STYLE):
        figure = Figure(figsize=(2 * SIDE + 0.6, SIDE + 1.2), layout="constrained")
        grid = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(4, 1))
        for (title, bins), (upper, lower) in zip(panels.items(), grid.T, strict=True):
            _draw(upper, lower, bins)
            upper.set_title(f"{title}: ECE {100 * bins.ece:.1f} %", fontsize=9)
            lower.set_xlabel("confidence")
        grid[0, 0].set_ylabel("accuracy")
        grid[1, 0].set_ylabel("pixels, %")
        with staged_file(out, overwrite) as staged:
            figure.savefig(staged, dpi=DOTS)


def _draw(upper, lower, bins: ReliabilityBins) -> None:
    width, total = 1 / BINS, sum(bins.pixels)
    for number, (right, sure) in enumerate(zip(bins.accuracy, bins.confidence, strict=True)):
        if right is None:
            continue
        left = number * width
        upper.bar(left, right, width, align="edge", color=RIGHT, edgecolor="white", linewidth=0.5)
        upper.bar(left, sure - right, width, right, align="edge", color=GAP, alpha=0.6, linewidth=0)
        lower.bar(left, 100 * bins.pixels[number] / total, width, align="edge", color="0.5", linewidth=0)
    upper.plot([0, 1], [0, 1], color="0.35", linewidth=0.8, linestyle="--")
    upper.set(xlim=(0, 1), ylim=(0, 1))
