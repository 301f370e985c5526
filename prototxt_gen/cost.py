"""What a net costs: parameters, multiply-adds, and memory of activations.

Memory counts what our build of Caffe keeps per layer on the CPU, in float32; its convolutions, by oneDNN,
keep nothing that grows with the image. Blobs are allocated when they are first touched: a deploy net touches
no gradients, a training net none of images and labels. A deploy net's blobs are counted as if each had its
own memory; `plan_memory` of a caffe.Net gives what they take when they share it.

A fused layer keeps its top, with its gradient in training, and nothing else that grows with the image but,
if asked to, the bottlenecks of all units: units x N x bottleneck x H x W. What it computes again in the
backward pass lies in scratch memory that all fused layers share, see `shared_scratch`.
"""

from collections import Counter
from dataclasses import dataclass

from prototxt_gen.layers import Layer, Net
from prototxt_gen.shapes import count

FLOAT = 4  # bytes
PREFETCH = 4  # batches that a Data layer holds ready (DataParameter.prefetch)


@dataclass(frozen=True)
class Cost:
    """Numbers of one layer or of several together; memory in bytes for one forward (and backward) pass."""

    parameters: int = 0
    multiply_adds: int = 0  # of convolutions; everything else is a few operations per value
    training_bytes: int = 0
    deploy_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """Add two costs field by field."""
        return Cost(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def layer_costs(net: Net) -> dict[str, Cost]:
    """Return the cost of each layer by name."""
    learning = _blobs_with_gradient(net)
    splits = _split_gradients(net)
    return {layer.name: _cost(layer, learning, splits.get(layer.name, 0)) for layer in net.layers}


def multiply_adds(layer: Layer) -> int:
    """Return the multiply-adds of a layer's convolutions: each filter value once per image and pixel."""
    filters = sum(count(shape) for shape in layer.params if len(shape) == 4)
    images, _, *size = layer.tops[0].shape if filters else (0, 0)
    return filters * images * count(tuple(size))


def shared_scratch(net: Net) -> int:
    """Return the bytes of scratch memory that a training net's fused layers share.

    The largest DenseBlock counts. Its backward pass has one unit's bottleneck there (unless it is kept), that
    after BN-ReLU, its gradient, and the gradient of the new features: N x (3 bottleneck + growth) x H x W.
    """
    return FLOAT * max((_scratch(layer) for layer in net.layers if layer.type == "DenseBlock"), default=0)


def _scratch(layer: Layer) -> int:
    images, _, *size = layer.tops[0].shape
    growth = layer.params[-1][0]
    return (2 if _keeps(layer) else 3) * _bottleneck(layer) + images * growth * count(tuple(size))


def _keeps(layer: Layer) -> bool:
    """Return whether a DenseBlock keeps its bottlenecks."""
    return ("keep_bottlenecks", "true") in dict(layer.fields)["dense_block_param"]


def _bottleneck(layer: Layer) -> int:
    """Return the values of one unit's bottleneck: outputs of its 1x1 convolution."""
    images, _, *size = layer.tops[0].shape
    width = next(shape[0] for shape in layer.params if len(shape) == 4)
    return images * width * count(tuple(size))


def _cost(layer: Layer, learning: set[str], split_values: int) -> Cost:
    kept, gradients = _internal_values(layer)
    if not _in_place(layer):
        kept += sum(count(top.shape) for top in layer.tops)
        gradients += sum(count(top.shape) for top in layer.tops if top.name in learning)
    return Cost(
        parameters=sum(count(shape) for shape in layer.params),
        multiply_adds=multiply_adds(layer),
        training_bytes=FLOAT * (kept + gradients + split_values),
        deploy_bytes=FLOAT * kept,
    )


def _internal_values(layer: Layer) -> tuple[int, int]:
    """Return how many values a layer keeps beside its tops: (forward, for the backward pass alone)."""
    size = count(layer.bottoms[0].shape) if layer.bottoms else 0
    forward = backward = 0
    match layer.type:
        case "BatchNorm":  # temp_ and x_norm_; in place, also the gradient of x_norm_
            forward, backward = 2 * size, size if _in_place(layer) else 0
        case "Scale" if _in_place(layer):  # temp_: the input, which the output overwrites
            forward = size
        case "DenseBlock" if _keeps(layer):
            forward = sum(shape[2:] == (3, 3) for shape in layer.params) * _bottleneck(layer)
        case "Pooling" if ("pool", "MAX") in layer.fields[0][1]:  # max_idx_
            forward = count(layer.tops[0].shape)
        case "SoftmaxWithLoss" | "InfogainLoss":  # prob_
            forward = size
        case "Data":  # batches read ahead
            forward = PREFETCH * count(layer.tops[0].shape)
    return forward, backward


def _in_place(layer: Layer) -> bool:
    return layer.tops[0].name in [bottom.name for bottom in layer.bottoms]


def _blobs_with_gradient(net: Net) -> set[str]:
    """Return the blobs that the backward pass reaches: those behind a learnt parameter."""
    learning: set[str] = set()
    for layer in net.layers:
        if layer.params or any(bottom.name in learning for bottom in layer.bottoms):
            learning.update(top.name for top in layer.tops)
    return learning


def _split_gradients(net: Net) -> dict[str, int]:
    """Return layer name -> values of the gradients in the Splits that Caffe inserts behind it.

    A blob that several layers read gets one copy per reader; the copies share the data.
    """
    learning = _blobs_with_gradient(net)
    writer: dict[str, str] = {}
    readers: Counter[tuple[str, str]] = Counter()
    sizes: dict[tuple[str, str], int] = {}
    for layer in net.layers:
        for bottom in layer.bottoms:
            key = (writer[bottom.name], bottom.name)
            readers[key] += bottom.name in learning
            sizes[key] = count(bottom.shape)
        for top in layer.tops:
            writer[top.name] = layer.name
    values: Counter[str] = Counter()
    for (name, blob), number in readers.items():
        if number > 1:
            values[name] += number * sizes[name, blob]
    return dict(values)
