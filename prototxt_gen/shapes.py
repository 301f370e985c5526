"""Shapes of Caffe's layers, as their Reshape functions give them, and their windows; found without Caffe.

A shape is (N, C, H, W); a loss has the shape (). Rules are taken from BVLC Caffe 1.0.0, those of
Interp from native/overlay.
"""

from collections.abc import Iterable
from itertools import pairwise
from math import prod
from typing import NamedTuple

from common.errors import NetError

Shape = tuple[int, ...]
Pair = tuple[int, int]  # vertical, horizontal


def convolution(size: int, kernel: int, pad: int = 0, stride: int = 1) -> int:
    """Return the output size along one axis of a convolution."""
    return (size + 2 * pad - kernel) // stride + 1


def pooling(size: int, kernel: int, pad: int = 0, stride: int = 1) -> int:
    """Return the output size along one axis of a pooling: rounded up, no window wholly in the padding."""
    out = -(-(size + 2 * pad - kernel) // stride) + 1
    return out - 1 if pad and (out - 1) * stride >= size + pad else out


def interp(size: int, zoom_factor: int) -> int:
    """Return the output size along one axis of Interp, corners aligned."""
    return size + (size - 1) * (zoom_factor - 1)


def concat(name: str, shapes: list[Shape], axis: int) -> Shape:
    """Return the joint shape; raise NetError if the shapes differ along another axis."""
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    if len(rest) != 1:
        raise NetError(name, f"cannot join {_list(shapes)} along axis {axis}", "make the other axes equal")
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def slices(name: str, shape: Shape, axis: int, points: list[int]) -> list[Shape]:
    """Return the shapes between the slice points; raise NetError if a point is outside."""
    edges = [0, *points, shape[axis]]
    if any(low >= high for low, high in pairwise(edges)):
        raise NetError(
            name, f"cannot cut {shape} along axis {axis} at {points}", "move the slice points inside"
        )
    sizes = (high - low for low, high in pairwise(edges))
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def same(name: str, shapes: list[Shape]) -> Shape:
    """Return the one shape of all; raise NetError if they differ."""
    if len(set(shapes)) != 1:
        raise NetError(name, f"cannot add {_list(shapes)}", "enlarge the smaller one by Interp first")
    return shapes[0]


def count(shape: Shape) -> int:
    """Return the number of values in a shape."""
    return prod(shape)


def shapes_text(shapes: Iterable[Shape]) -> str:
    """Return shapes in words: `64x3x7x7, 64`."""
    return ", ".join("x".join(map(str, shape)) for shape in shapes)


def _list(shapes: list[Shape]) -> str:
    return " and ".join(str(shape) for shape in shapes)


class Window(NamedTuple):
    """What a convolution or pooling of a NetParameter slides over its input, each (vertical, horizontal)."""

    kernel: Pair
    pad: Pair
    stride: Pair
    dilation: Pair


def convolution_window(layer) -> Window:
    """Return the window of a Convolution."""
    param = layer.convolution_param
    return Window(
        _pair(param, "kernel_size", "kernel", 0),
        _pair(param, "pad", "pad", 0),
        _pair(param, "stride", "stride", 1),
        _pair(param, "dilation", "", 1),
    )


def pooling_window(layer) -> Window:
    """Return the window of a Pooling; NetError for one over the whole input."""
    param = layer.pooling_param
    if param.global_pooling:
        raise NetError(layer.name, "pools over the whole input", "give it a kernel_size")
    return Window(
        _pair(param, "kernel_size", "kernel", 0),
        _pair(param, "pad", "pad", 0),
        _pair(param, "stride", "stride", 1),
        (1, 1),
    )


def _pair(param, single: str, stem: str, default: int) -> Pair:
    """Return `<stem>_h` and `<stem>_w` where given, else `single` (one number or two), else the default."""
    if stem and (param.HasField(f"{stem}_h") or param.HasField(f"{stem}_w")):
        return getattr(param, f"{stem}_h") or default, getattr(param, f"{stem}_w") or default
    value = getattr(param, single)
    values = [value] if isinstance(value, int) else list(value)
    values = values or [default]
    return values[0] or default, values[-1] or default


MIN_INPUT_SIZE, STEP = 33, 32


def is_input_size(side: int) -> bool:
    """Return whether `side` is 33, 65, 97 ... 1025 ..."""
    return side >= MIN_INPUT_SIZE and side % STEP == 1


def nearest_input_sizes(side: int) -> str:
    """Return the sizes below and above another number, as advice: "993 or 1025"."""
    low = max(MIN_INPUT_SIZE, (side - 1) // STEP * STEP + 1)
    return f"{low} or {low + STEP}"
