"""What a net costs: parameters, multiply-adds, and memory of activations.

Memory counts what our build of Caffe keeps per layer on the CPU, in float32; its convolutions, by oneDNN,
keep nothing that grows with the image. Blobs are allocated when they are first touched: a deploy net touches
no gradients, a training net none of images and labels. A deploy net's blobs are counted as if each had its
own memory; `plan_memory` of a caffe.Net gives what they take when they share it.

A fused layer keeps its top, with its gradient in training, and nothing else that grows with the image but,
if asked to, the bottlenecks of all units: units x N x bottleneck x H x W. What it computes again in the
backward pass lies in scratch memory that all fused layers share, see `shared_scratch`.

`beside_blobs` says what the process takes beside its blobs: measured on seven nets (0.2 to 1.6 GB, plain and
fused, two threads), all together is within 5 % of the most that the process holds.
"""

from collections import Counter
from dataclasses import dataclass

from prototxt_gen.layers import Layer, Net
from prototxt_gen.shapes import count

FLOAT = 4  # bytes
MIB = 1 << 20
LIBRARIES = 148 * MIB  # Python, Caffe and their libraries, and the code that oneDNN writes
THREADS, THREAD = 2, 10 * MIB  # scratch for strips and tiles of 3x3 convolutions
WINOGRAD = 36 / 9  # values of a transformed 3x3 filter, by its own


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


def solver_history(kind: str) -> int:
    """Return how many numbers a solver of that type keeps for each parameter, beside its gradient."""
    return 2 if kind in ("Adam", "AdaDelta") else 1


def beside_blobs(net: Net, history: int | None = None) -> dict[str, int]:
    """Return the bytes that a process on the CPU takes beside the net's blobs, by what they are.

    `history` is the number of the solver's blobs for each parameter of a training net; None: it predicts.
    """
    copies = 1 if history is None else 2 + history
    return {
        "Scratch of the fused layers": 0 if history is None else shared_scratch(net),
        "Winograd's algorithm": _winograd(net, trains=history is not None),
        "Weights" if history is None else "Weights, gradients, momentum": FLOAT
        * copies
        * sum(count(shape) for layer in net.layers for shape in layer.params),
        "Python, Caffe, libraries": LIBRARIES,
    }


def process_bytes(net: Net, history: int) -> int:
    """Return the bytes that the process of one rank takes in training, on the CPU."""
    blobs = sum(cost.training_bytes for cost in layer_costs(net).values())
    return blobs + sum(beside_blobs(net, history).values())


def _winograd(net: Net, trains: bool) -> int:
    """Return the bytes of transformed filters, and of what threads need for the 3x3 convolutions.

    Each convolution has its own, in training those of the gradient of its input too; of a DenseBlock one
    unit at a time. Threads sum the gradient of filters.
    """
    filters = [
        max((count(shape) for shape in layer.params if shape[2:] == (3, 3)), default=0)
        for layer in net.layers
    ]
    values = sum(filters) * (2 if trains else 1) + (THREADS * max(filters, default=0) if trains else 0)
    return int(FLOAT * WINOGRAD * values) + (THREADS * THREAD if any(filters) else 0)


def shared_scratch(net: Net) -> int:
    """Return the bytes of scratch memory that a training net's fused layers share.

    The largest DenseBlock counts. Its backward pass has one unit's bottleneck there (unless it is kept), that
    after BN-ReLU, its gradient, and the gradient of the new features: N x (3 bottleneck + growth) x H x W.
    """
    return FLOAT * max((_scratch(layer) for layer in net.layers if layer.type == "DenseBlock"), default=0)


def _scratch(layer: Layer) -> int:
    images, _, *size = layer.tops[0].shape
    growth = layer.params[-1][0]
    bottleneck = next(shape[0] for shape in layer.params if len(shape) == 4)  # channels
    return images * ((2 if any(layer.kept) else 3) * bottleneck + growth) * count(tuple(size))


def _cost(layer: Layer, learning: set[str], split_values: int) -> Cost:
    kept, gradients = layer.kept
    if not _in_place(layer):
        kept += sum(count(top.shape) for top in layer.tops)
        gradients += sum(count(top.shape) for top in layer.tops if top.name in learning)
    return Cost(
        parameters=sum(count(shape) for shape in layer.params),
        multiply_adds=multiply_adds(layer),
        training_bytes=FLOAT * (kept + gradients + split_values),
        deploy_bytes=FLOAT * kept,
    )


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
