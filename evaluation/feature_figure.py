"""The paper's Figure 3, drawn: images, and beside them feature maps of each model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from common.datasets import Dataset, display_bands
from common.drawing import drawn_with
from common.files import staged_file
from common.numbers import check_number
from data_prep.read_options import ReadOptions
from data_prep.scene_image import open_image
from evaluation.features import FeatureNet, TrunkBlob, choose_blobs, strongest
from evaluation.figures import CELL, DOTS, STYLE
from evaluation.thumbnails import as_bytes, read_centre_crop
from inference.deploy import read_deploy
from inference.loading import TrainedTask, check_same_input

MAX_CHANNELS = 16  # shown of a model
COLOURS = "viridis"
OUTLIERS = 1  # percent of a map's pixels at each end of the colours that are cut off
GAP = 0.08  # inches between models


@dataclass(frozen=True)
class Column:
    """One map per image, (h, w) each, under a title."""

    title: str
    maps: list[np.ndarray]


def columns(features: Sequence[np.ndarray], channels: int) -> list[Column]:
    """Return what is shown of a model's features (one (C, h, w) per image).

    First the mean magnitude over all channels, then the `channels` that vary most over all images.
    """
    shown = [Column("mean |x|", [np.abs(feature).mean(axis=0) for feature in features])]
    for channel in strongest(features, channels):
        shown.append(Column(f"channel {channel}", [feature[channel] for feature in features]))
    return shown


def draw_features(
    images: Sequence[np.ndarray], models: dict[str, list[Column]], out: Path, overwrite: bool = False
) -> None:
    """Draw the grid of `images` (S, S, 3 or 1) and the models' columns, each map in its own span."""
    groups = [[Column("", list(images))], *models.values()]
    count = sum(map(len, groups))
    height, width = CELL * len(images) + 0.36, CELL * count + GAP * len(models)
    with drawn_with(STYLE):
        figure = Figure(figsize=(width, height))
        left = 0.0
        for name, group in zip(["Image", *models], groups, strict=True):
            middle = (left + CELL * len(group) / 2) / width
            figure.text(middle, 1 - 0.05 / height, name, ha="center", va="top", fontsize=9)
            for column in group:
                _draw_column(figure, column, left)
                left += CELL
            left += GAP
        with staged_file(out, overwrite) as staged:
            figure.savefig(staged, dpi=DOTS)


def draw_models(
    models: Mapping[str, tuple[Path, Path]],
    scenes: Mapping[str, Path],
    out: Path,
    *,
    task: str | None = None,
    dataset: Dataset | None = None,
    channels: int = 2,
    side: int | None = None,
    blobs: Sequence[str] | None = None,
    overwrite: bool = False,
    warn: Callable[[str], None] = print,
) -> list[TrunkBlob]:
    """Draw features of `models` (name -> deploy prototxt and weights) for the middle of `scenes`.

    `task` and `dataset` as in `trained_task`. `side` of the middle: pixels, 32k+1; by default the first
    prototxt's. `blobs` as in `choose_blobs`. Returns the blob shown of each model.
    """
    check_number("--channels", channels, 0, MAX_CHANNELS)
    side = read_deploy(next(iter(models.values()))[0]).side if side is None else side
    nets = [FeatureNet(deploy, weights, task, dataset, side, warn) for deploy, weights in models.values()]
    chosen = choose_blobs(nets, blobs)
    first = nets[0].trained
    check_same_input([weights for _, weights in models.values()], [net.trained for net in nets], "compare")
    images = [_middle_of(path, side, first) for path in scenes.values()]
    shown = {
        name: columns([net.feature(blob, image) for image in images], channels)
        for name, net, blob in zip(models, nets, chosen, strict=True)
    }
    channels_shown = [first.bands.index(band) for band in display_bands(first.bands)]
    pictures = [as_bytes(image[..., channels_shown]) for image in images]
    draw_features(pictures, shown, out, overwrite)
    return chosen


def _middle_of(path: Path, side: int, trained: TrainedTask) -> np.ndarray:
    with open_image(path, ReadOptions.of(trained.dataset, trained.bands, fill=trained.mean)) as image:
        return read_centre_crop(image, side)


def _draw_column(figure: Figure, column: Column, left: float) -> None:
    width, height = figure.get_size_inches()
    for row, shown in enumerate(column.maps):
        bottom = CELL * (len(column.maps) - 1 - row)
        inset = 0.02
        box = ((left + inset) / width, (bottom + inset) / height)
        axes = figure.add_axes((*box, (CELL - 2 * inset) / width, (CELL - 2 * inset) / height))
        low, high = np.percentile(shown, (OUTLIERS, 100 - OUTLIERS))
        axes.imshow(
            shown,
            cmap=COLOURS if shown.ndim == 2 else "gray",
            vmin=low,
            vmax=high,
            interpolation="antialiased",
        )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(linewidth=0.4, color="0.35")
        if row == 0 and column.title:
            axes.set_title(column.title, fontsize=7, color="0.35", pad=2)
