"""Weights compared with a net before Caffe sees them: Caffe ends the process at a shape that differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.errors import WeightsError

Shapes = list[tuple[int, ...]]


@dataclass(frozen=True)
class Match:
    """Layers with parameters, by name: in both, in the net alone, in the file alone."""

    loaded: list[str]
    left: list[str]
    unused: list[str]


def shapes_in_file(path: Path) -> dict[str, Shapes]:
    """Return layer name -> shapes of its parameters in a .caffemodel; WeightsError if it is none."""
    return {name: [blob.shape for blob in blobs] for name, blobs in read_caffemodel(path).items()}


def match(own: dict[str, Shapes], path: Path, partly: bool) -> Match:
    """Compare the shapes of a net's parameters with those of a .caffemodel, by layer name.

    Raises WeightsError if a layer's shapes differ, if nothing matches, or, unless `partly`, if a layer
    of the net is not in the file.
    """
    file = shapes_in_file(path)
    shared = [name for name in own if name in file]
    differing = [name for name in shared if own[name] != file[name]]
    left = [name for name in own if name not in file]
    if differing:
        name = differing[0]
        raise WeightsError(
            path,
            f"layer {name} has the shapes {_text(file[name])}, the net {_text(own[name])}"
            f" ({len(differing)} layer(s) differ)",
            "use the weights of this net, or the net of these weights",
        )
    if not shared or (left and not partly):
        fact = f"has no layer {left[0]} ({len(left)} of the net's {len(own)} layers are missing)"
        raise WeightsError(path, fact, "use the weights of this net")
    return Match(loaded=shared, left=left, unused=[name for name in file if name not in own])


def load_weights(net, path: Path, partly: bool = False) -> Match:
    """Load a .caffemodel into a caffe.Net after `match`; return what was loaded."""
    own = {name: [tuple(blob.shape) for blob in blobs] for name, blobs in net.params.items()}
    found = match(own, path, partly)
    net.copy_from(str(path))
    return found


def _text(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes)
