"""Kernels, pads and strides of a NetParameter's layers, by each of the ways in which Caffe writes them."""

from typing import NamedTuple

from common.errors import NetError

Pair = tuple[int, int]  # vertical, horizontal


class Window(NamedTuple):
    """What a convolution or a pooling slides over its input; each a pair (vertical, horizontal)."""

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
