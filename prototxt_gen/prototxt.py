"""Prototxts of others, read before Caffe sees them: it ends the process at one that it cannot read."""

from pathlib import Path

from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.errors import NetError
from prototxt_gen.shapes import Shape


def read_net(path: Path):
    """Return the NetParameter of a prototxt; raise NetError if it cannot be read."""
    from google.protobuf import text_format

    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), caffe_pb2().NetParameter())
    except OSError as error:
        raise NetError(path, f"cannot be read ({error.strerror})", "give a deploy prototxt") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        fact = f"is no prototxt ({str(error).splitlines()[0]})"
        raise NetError(path, fact, "emit it again with tools/make_net.py") from error


def net_inputs(net) -> dict[str, Shape]:
    """Return the input blobs of a NetParameter with their shapes, in either of Caffe's two notations."""
    shapes = {
        top: tuple(shape.dim)
        for layer in net.layer
        if layer.type == "Input"
        for top, shape in zip(layer.top, layer.input_param.shape, strict=False)
    }
    return shapes | {top: tuple(shape.dim) for top, shape in zip(net.input, net.input_shape, strict=False)}


def net_outputs(net) -> tuple[str, ...]:
    """Return the blobs that no layer reads, in the order in which they are made."""
    waiting: dict[str, None] = {}
    for layer in net.layer:
        for bottom in layer.bottom:
            waiting.pop(bottom, None)
        waiting.update(dict.fromkeys(layer.top))
    return tuple(waiting)
