"""Weights compared with a net before Caffe sees them: Caffe ends the process at a shape that differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prototxt_gen.caffe_proto import caffe_pb2
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
    from google.protobuf.message import DecodeError

    net = caffe_pb2().NetParameter()
    try:
        net.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise WeightsError(path, f"cannot be read ({error.strerror})", "give a .caffemodel file") from error
    except DecodeError as error:
        raise WeightsError(path, "is no .caffemodel, or a part of one", "fetch or train it again") from error
    shapes = {layer.name: [_shape(blob) for blob in layer.blobs] for layer in net.layer if layer.blobs}
    if not shapes:
        raise WeightsError(path, "holds no parameters by layer name", "give a .caffemodel of Caffe 1.0")
    return shapes


def _shape(blob) -> tuple[int, ...]:
    """Return a BlobProto's shape; files of early Caffe versions have four fixed axes instead."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    return (blob.num, blob.channels, blob.height, blob.width)


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
