"""Weights compared with a net before Caffe sees them: Caffe ends the process at a shape that differs.

Net and file may be of plain or of fused layers, each of its own: both are seen as plain ones.
"""

import ctypes
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from common.errors import WeightsError
from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.experiment import Experiment
from prototxt_gen.fused_weights import plain_view
from prototxt_gen.model_card import read_card

Shapes = Sequence[tuple[int, ...]]
FIRST = "conv1"  # the convolution that reads the bands


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

    def lines(self) -> list[str]:
        """Say which layers those are, counted by block: conv2 stands for conv2_1/x1, conv2_1/x1/bn ..."""
        parts = {
            "loaded": self.loaded,
            "left at their filler": self.left,
            "other shape, bands or classes, left at their filler": self.differing,
            "not in this net": self.unused,
        }
        return [f"{len(names)} layer(s) {what}: {_by_block(names)}" for what, names in parts.items() if names]


def match_weights(
    own: Mapping[str, Shapes], path: Path, coverage: Coverage, exp: Experiment | None = None
) -> WeightsMatch:
    """Compare the shapes of a net's parameters with those of a .caffemodel, by layer name.

    Where the file's card says that it has learnt from other bands than the experiment has, its first
    convolution is of no use, whatever its shape, and so is a task's head where it has learnt other classes.
    Raises WeightsError if the file is not a .caffemodel, if nothing matches, or for what `coverage` forbids.
    """
    own = plain_view(own)
    file = {name: [blob.shape for blob in blobs] for name, blobs in plain_view(read_caffemodel(path)).items()}
    shared = [name for name in own if name in file]
    foreign = _trained_differently(path, coverage, exp, {_part(name) for name in shared}) if exp else set()
    differing = [name for name in shared if not _equal(own[name], file[name]) or _part(name) in foreign]
    left = [name for name in own if name not in file]
    if differing and coverage is not Coverage.ALLOW_MISMATCH:
        name = differing[0]
        raise WeightsError(
            path,
            f"layer {name} has the shapes {_text(file[name])}, the net {_text(own[name])}"
            f" ({len(differing)} layer(s) differ)",
            "use the weights of this net; for training, --allow-mismatch leaves such layers at their filler",
        )
    loaded = [name for name in shared if name not in differing]
    if not loaded or (left and coverage is Coverage.FULL):
        missing = [*left, *differing]
        fact = f"has no layer {missing[0]} ({len(missing)} of the net's {len(own)} layers are missing)"
        raise WeightsError(path, fact, "use the weights of this net")
    return WeightsMatch(loaded, left, [name for name in file if name not in own], differing)


def _part(name: str) -> str:
    """Return what a layer belongs to: the first convolution itself, or what stands before the first slash."""
    return name if name == FIRST else name.partition("/")[0] + "/"


def _trained_differently(path: Path, coverage: Coverage, exp: Experiment, shared: set[str]) -> set[str]:
    """Return the parts of a net that a file, by its card, has learnt for other bands or classes.

    Such a part is an error unless it may differ.
    """
    card = read_card(path)
    if card is None:
        return set()
    facts = {}
    if card.bands != exp.input.bands:
        bands = ", ".join(exp.input.bands)
        facts[FIRST] = f"has learnt from the bands {', '.join(card.bands)}, the experiment has {bands}"
    for task, settings in exp.tasks.items():
        if task in card.tasks and (difference := settings.dataset.difference(card.tasks[task])):
            facts[f"{task}/"] = f"has learnt for {task} {difference} as the experiment has"
    facts = {part: fact for part, fact in facts.items() if part in shared}
    if facts and coverage is not Coverage.ALLOW_MISMATCH:
        part, fact = next(iter(facts.items()))
        remedy = f"use weights of these {'bands' if part == FIRST else 'classes'}"
        raise WeightsError(path, fact, f"{remedy}; --allow-mismatch leaves {part} at its filler")
    return set(facts)


def load_weights(
    net, path: Path, coverage: Coverage = Coverage.FULL, exp: Experiment | None = None
) -> WeightsMatch:
    """Load a .caffemodel into a caffe.Net after `match_weights`; return what was loaded."""
    own = plain_view(net.params)
    matched = match_weights(
        {name: [tuple(blob.shape) for blob in blobs] for name, blobs in own.items()}, path, coverage, exp
    )
    weights = plain_view(read_caffemodel(path))
    for name in matched.loaded:
        for blob, values in zip(own[name], weights[name], strict=True):
            blob.data[...] = values.reshape(blob.data.shape)
    del weights
    _give_memory_back()
    return matched


def _give_memory_back() -> None:
    """Return freed memory to the system, where the C library can: reading held the file several times."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _equal(own: Shapes, file: Shapes) -> bool:
    """Compare shapes; files of early Caffe versions fill every shape up to four axes from the left."""
    return len(own) == len(file) and all(
        b in (a, (1,) * (4 - len(a)) + tuple(a)) for a, b in zip(own, file, strict=True)
    )


def _text(shapes: Shapes) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes)


def _by_block(names: Sequence[str]) -> str:
    blocks = Counter(re.split(r"[_/]", name)[0] for name in names)
    return ", ".join(f"{block} ({count})" for block, count in blocks.items())
