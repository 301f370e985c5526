"""Weights compared with a net before Caffe sees them: Caffe ends the process at a shape that differs.

Net and file may be of plain or of fused layers, each of its own: both are seen as plain ones.
"""

import ctypes
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from common.errors import WeightsError
from common.numbers import plural
from prototxt_gen.blocks import TASK
from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.experiment import Experiment
from prototxt_gen.fused_weights import plain_view
from prototxt_gen.model_card import read_card
from prototxt_gen.models import TRAIN, build
from prototxt_gen.shapes import shapes_text

Shapes = Sequence[tuple[int, ...]]
EXAMPLES = 3  # layers named of those that the net does not have


class Coverage(Enum):
    """How much of a net its weights must cover: all; a part; a part, with layers of other shapes left out."""

    FULL = "whole"
    PARTIAL = "part"
    ALLOW_MISMATCH = "mismatch"


@dataclass(frozen=True)
class WeightsMatch:
    """Plain layers with parameters, by name: in both, in the net or the file alone, of another shape."""

    loaded: list[str]
    left: list[str]
    unused: list[str]
    differing: list[str]

    def lines(self, parts: Mapping[str, str]) -> list[str]:
        """Say which layers those are, counted by the net's `parts`, to which its layers belong by name."""
        lists = {
            "loaded": self.loaded,
            "left at their filler": self.left,
            "other shape, bands or classes, left at their filler": self.differing,
        }
        lines = []
        for outcome, names in lists.items():
            counts = Counter(parts[name] for name in names).items()
            if names:
                words = ", ".join(f"{part} ({count})" for part, count in counts)
                lines.append(f"{plural(len(names), 'layer')} {outcome}: {words}")
        if self.unused:
            words = ", ".join(self.unused[:EXAMPLES]) + (" ..." if len(self.unused) > EXAMPLES else "")
            lines.append(f"{plural(len(self.unused), 'layer')} not in this net: {words}")
        return lines


def match_weights(
    net: Mapping[str, Shapes], path: Path, coverage: Coverage, exp: Experiment | None = None
) -> WeightsMatch:
    """Compare the shapes of a net's parameters with those of a .caffemodel, by layer name.

    Where the file's card says that it has learnt from other bands than the experiment has, its first
    convolution is of no use, whatever its shape, and so is a task's head where it has learnt other classes.
    Raises WeightsError if the file is not a .caffemodel, if nothing matches, or for what `coverage` forbids.
    """
    net = plain_view(net)
    file = {name: [blob.shape for blob in blobs] for name, blobs in plain_view(read_caffemodel(path)).items()}
    shared = [name for name in net if name in file]
    foreign = _trained_differently(path, coverage, exp, shared) if exp else set()
    differing = [name for name in shared if not _equal(net[name], file[name]) or name in foreign]
    left = [name for name in net if name not in file]
    if differing and coverage is not Coverage.ALLOW_MISMATCH:
        name = differing[0]
        raise WeightsError(
            path,
            f"layer {name} has the shapes {shapes_text(file[name])}, the net {shapes_text(net[name])}"
            f" ({plural(len(differing), 'layer')} of another shape)",
            "use the weights of this net; for training, --allow-mismatch leaves such layers at their filler",
        )
    loaded = [name for name in shared if name not in differing]
    if not loaded or (left and coverage is Coverage.FULL):
        missing = [*left, *differing]
        fact = f"has no layer {missing[0]} ({len(missing)} of the net's {len(net)} layers are missing)"
        raise WeightsError(path, fact, "use the weights of this net")
    return WeightsMatch(loaded, left, [name for name in file if name not in net], differing)


def _trained_differently(path: Path, coverage: Coverage, exp: Experiment, shared: Sequence[str]) -> set[str]:
    """Return the layers of a net, of those in `shared`, that a file has learnt for other bands or classes.

    What it has learnt for, its card says. Such layers are an error unless they may differ.
    """
    card = read_card(path)
    if card is None:
        return set()
    first, heads = _first_and_heads(exp)
    foreign = {}  # layer -> what is wrong with it, and what to use
    if card.bands != exp.input.bands:
        bands = ", ".join(exp.input.bands)
        fact = f"has learnt from the bands {', '.join(card.bands)}, the experiment has {bands}"
        foreign[first] = fact, f"bands; --allow-mismatch leaves {first} at its filler"
    for name, task in heads.items():
        difference = task in card.tasks and exp.tasks[task].dataset.difference(card.tasks[task])
        if difference:
            fact = f"has learnt for {task} {difference} as the experiment has"
            foreign[name] = fact, f"classes; --allow-mismatch leaves the head of {task} at its filler"
    matched = [name for name in foreign if name in shared]
    if matched and coverage is not Coverage.ALLOW_MISMATCH:
        fact, remedy = foreign[matched[0]]
        raise WeightsError(path, fact, f"use weights of these {remedy}")
    return set(matched)


def _first_and_heads(exp: Experiment) -> tuple[str, dict[str, str]]:
    """Return the layer that reads the bands, and the task of each layer of a head, of those with weights."""
    layers = [layer for layer in build(exp, TRAIN).plain.layers if layer.params]
    return layers[0].name, {layer.name: task.name for layer in layers if (task := layer.group(TASK))}


def load_weights(
    net, path: Path, coverage: Coverage = Coverage.FULL, exp: Experiment | None = None
) -> WeightsMatch:
    """Load a .caffemodel into a caffe.Net after `match_weights`; return what was loaded."""
    net_blobs = plain_view(net.params)
    shapes = {name: [tuple(blob.shape) for blob in blobs] for name, blobs in net_blobs.items()}
    matched = match_weights(shapes, path, coverage, exp)
    weights = plain_view(read_caffemodel(path))
    for name in matched.loaded:
        for blob, values in zip(net_blobs[name], weights[name], strict=True):
            blob.data[...] = values.reshape(blob.data.shape)
    del weights
    _give_memory_back()
    return matched


def _give_memory_back() -> None:
    """Return freed memory to the system, where the C library can: reading held the file several times."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _equal(net: Shapes, file: Shapes) -> bool:
    """Compare shapes; files of early Caffe versions fill every shape up to four axes from the left."""
    return len(net) == len(file) and all(
        b in (a, (1,) * (4 - len(a)) + tuple(a)) for a, b in zip(net, file, strict=True)
    )
