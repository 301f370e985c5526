"""Prototxts of others, read before Caffe sees them: it ends the process at one that it cannot read."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import NetError
from prototxt_gen.blocks import HEAD_CONVOLUTIONS
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.shapes import Shape


def read_net(path: Path):
    """Return the NetParameter of a prototxt; raise NetError if it cannot be read."""
    from google.protobuf import text_format

    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8-sig"), caffe_pb2().NetParameter())
    except OSError as error:
        raise NetError(path, f"cannot be read ({error.strerror})", "give a deploy prototxt") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        fact = f"is not a prototxt ({str(error).splitlines()[0]})"
        raise NetError(path, fact, "emit it again with dfcnet make-net") from error


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


def layers_for(net, outputs: Sequence[str]) -> list:
    """Return the layers of a NetParameter, in order, that `outputs` depend on, but those of type Input.

    Raises NetError for an output that no layer makes.
    """
    needed, layers = set(outputs), []
    for layer in reversed(net.layer):
        if layer.type != "Input" and needed.intersection(layer.top):
            layers.append(layer)
            needed.update(layer.bottom)
    unknown = needed.difference(net_inputs(net), *(layer.top for layer in layers))
    if unknown:
        fact = f"no layer makes {', '.join(sorted(unknown))}"
        raise NetError(net.name, fact, f"choose outputs of {', '.join(net_outputs(net))}")
    return layers[::-1]


def head_of(net, answer: str) -> set[str]:
    """Return the names of the layers that are a task's own in a deploy net, by its `answer`'s blob.

    These are its last convolutions, in whatever form they are, and what follows them.
    """
    names, convolutions = set(), 0
    for layer in reversed(net.layer):
        if answer in layer.top and layer.bottom and convolutions < HEAD_CONVOLUTIONS:
            names.add(layer.name)
            answer = layer.bottom[0]
            convolutions += "Convolution" in layer.type
    return names


def text_for(net, outputs: Sequence[str]) -> str:
    """Return the prototxt of the part of a NetParameter that `outputs` depend on."""
    from google.protobuf import text_format

    part = type(net)()
    part.CopyFrom(net)
    del part.layer[:]
    part.layer.extend(layer for layer in net.layer if layer.type == "Input")
    part.layer.extend(layers_for(net, outputs))
    return text_format.MessageToString(part)


def fed_by_caller(net):
    """Turn the Data layers of a train NetParameter into Inputs, N x (bands and label) x S x S; return it."""
    for layer in net.layer:
        if layer.type == "Data":
            crop, batch = layer.transform_param.crop_size, layer.data_param.batch_size
            channels = len(layer.transform_param.mean_value)
            layer.type = "Input"
            for name in ("transform_param", "data_param", "include"):
                layer.ClearField(name)
            layer.input_param.shape.add(dim=(batch, channels, crop, crop))
    return net
