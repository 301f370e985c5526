"""Each of Caffe's layers, as a deploy net uses it, in ONNX's operators (opset 18)."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from common.errors import NetError
from prototxt_gen.onnx_graph import Graph
from prototxt_gen.shapes import convolution_window, pooling_window

END = np.iinfo(np.int64).max


def relu(graph: Graph, layer) -> None:
    """Relu, or LeakyRelu with a negative_slope."""
    (x,), slope = graph.values(layer), layer.relu_param.negative_slope
    if slope:
        graph.top(layer, "LeakyRelu", [x], graph.channels[x], alpha=slope)
    else:
        graph.top(layer, "Relu", [x], graph.channels[x])


def pooling(graph: Graph, layer) -> None:
    """MaxPool or AveragePool with Caffe's partial windows.

    Caffe rounds sizes up; an average divides by the part of the window inside input and padding.
    """
    window, param, (x,) = pooling_window(layer), layer.pooling_param, graph.values(layer)
    kind = {param.MAX: "MaxPool", param.AVE: "AveragePool"}.get(param.pool)
    if kind is None:
        raise NetError(layer.name, "pools at random", "export a net with MAX or AVE pooling")
    for kernel, pad, stride in zip(window.kernel, window.pad, window.stride, strict=True):
        if pad and pad + stride > kernel:  # Caffe drops a last window that lies in the padding
            fact = f"a kernel of {kernel} with pad {pad} and stride {stride} may lie wholly in the padding"
            raise NetError(layer.name, fact, "export a net whose pad + stride is at most the kernel")
    pads = window.pad * 2
    if kind == "AveragePool" and any(pads):  # zeros that count, as ONNX's own padding would not at the end
        sides = graph.numbers(0, 0, *window.pad, 0, 0, *window.pad)
        x, pads, channels = graph.inner(layer, "Pad", [x, sides], "padded"), (0,) * 4, graph.channels[x]
    else:
        channels = graph.channels[x]
    ceil_mode = int(param.round_mode == param.CEIL)
    attributes = {"pads": pads, "strides": window.stride, "ceil_mode": ceil_mode}
    graph.top(layer, kind, [x], channels, kernel_shape=window.kernel, **attributes)


def interp(graph: Graph, layer) -> None:
    """Resize with aligned corners to ((n - 1) / shrink_factor) zoom_factor + 1, or to a given size."""
    param, (x,) = layer.interp_param, graph.values(layer)
    if param.pad_beg or param.pad_end:
        raise NetError(layer.name, "crops before it interpolates", "export a net without pad_beg and pad_end")
    if param.HasField("zoom_factor") or param.HasField("shrink_factor"):
        size = graph.inner(layer, "Shape", [x], "shape", start=2, end=4)
        size = graph.inner(layer, "Sub", [size, graph.numbers(1)], "steps")
        if param.shrink_factor > 1:
            size = graph.inner(layer, "Div", [size, graph.numbers(param.shrink_factor)], "shrunk")
        if param.zoom_factor > 1:
            size = graph.inner(layer, "Mul", [size, graph.numbers(param.zoom_factor)], "zoomed")
        size = graph.inner(layer, "Add", [size, graph.numbers(1)], "size")
    else:
        size = graph.numbers(param.height, param.width)
    graph.top(
        layer,
        "Resize",
        [x, "", "", size],
        graph.channels[x],
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )


def concat(graph: Graph, layer) -> None:
    """Concat along an axis."""
    xs, axis = graph.values(layer), layer.concat_param.axis
    parts = [graph.channels[x] for x in xs]
    graph.top(layer, "Concat", xs, sum(parts) if axis == 1 else parts[0], axis=axis)


def slice_(graph: Graph, layer) -> None:
    """One Slice a top, between given points."""
    param, (x,) = layer.slice_param, graph.values(layer)
    if len(param.slice_point) != len(layer.top) - 1:
        fact = f"{len(layer.top)} tops and {len(param.slice_point)} slice points"
        raise NetError(layer.name, fact, "give a slice_point between each two tops")
    edges = [0, *param.slice_point, END]
    for index, (low, high) in enumerate(pairwise(edges)):
        channels = graph.channels[x]
        if param.axis == 1:
            channels = min(high, channels) - low
        bounds = [graph.numbers(number) for number in (low, high, param.axis)]
        graph.top(layer, "Slice", [x, *bounds], channels, index)


def eltwise(graph: Graph, layer) -> None:
    """Sum (with coefficients, if any), product or maximum of blobs of one shape."""
    param, xs = layer.eltwise_param, graph.values(layer)
    channels = graph.channels[xs[0]]
    if param.operation == param.PROD:
        product = xs[0]
        for number, x in enumerate(xs[1:-1]):
            product = graph.inner(layer, "Mul", [product, x], f"product{number}")
        graph.top(layer, "Mul", [product, xs[-1]], channels)
        return
    if param.coeff and param.operation == param.SUM:
        factors = [
            graph.constant(f"{layer.name}/coeff{i}", np.float32(factor))
            for i, factor in enumerate(param.coeff)
        ]
        pairs = enumerate(zip(xs, factors, strict=True))
        xs = [graph.inner(layer, "Mul", pair, f"weighted{i}") for i, pair in pairs]
    operation = {param.MAX: "Max", param.SUM: "Add" if len(xs) == 2 else "Sum"}[param.operation]
    graph.top(layer, operation, xs, channels)


def softmax(graph: Graph, layer) -> None:
    """Softmax along an axis."""
    (x,) = graph.values(layer)
    graph.top(layer, "Softmax", [x], graph.channels[x], axis=layer.softmax_param.axis)


def power(graph: Graph, layer) -> None:
    """(shift + scale x) ** power."""
    param, (x,) = layer.power_param, graph.values(layer)
    channels = graph.channels[x]
    steps = [("Mul", param.scale, 1.0), ("Add", param.shift, 0.0), ("Pow", param.power, 1.0)]
    for op, value, neutral in steps:
        if value != neutral:
            constant = graph.constant(f"{layer.name}/{op.lower()}", np.float32(value))
            x = graph.inner(layer, op, [x, constant], f"{op.lower()}_value")
    graph.top(layer, "Identity", [x], channels)


def _check_single(layer) -> None:
    if len(layer.bottom) != 1 or len(layer.top) != 1:
        fact = f"{layer.type} with {len(layer.bottom)} bottoms and {len(layer.top)} tops"
        raise NetError(layer.name, fact, "export a net whose layer has one of each")


def convolution(graph: Graph, layer) -> None:
    """Conv: the same sums, the same zero padding, sizes rounded down."""
    _check_single(layer)
    param, window, (x,) = layer.convolution_param, convolution_window(layer), graph.values(layer)
    shapes = [(param.num_output, graph.channels[x] // param.group, *window.kernel)]
    if param.bias_term:
        shapes.append((param.num_output,))
    arrays = graph.learnt(layer, *shapes)
    names = [
        graph.constant(f"{layer.name}/{part}", array)
        for part, array in zip(("weight", "bias"), arrays, strict=False)
    ]
    graph.top(
        layer,
        "Conv",
        [x, *names],
        param.num_output,
        kernel_shape=window.kernel,
        pads=window.pad * 2,
        strides=window.stride,
        dilations=window.dilation,
        group=param.group,
    )


def batch_norm(graph: Graph, layer, scale=None) -> None:
    """BatchNormalization by the stored statistics, together with the Scale in place behind it, if given."""
    _check_single(layer)
    if layer.batch_norm_param.HasField("use_global_stats") and not layer.batch_norm_param.use_global_stats:
        fact = "normalises by the tile's own statistics (use_global_stats: false)"
        raise NetError(layer.name, fact, "export a deploy net")
    (x,) = graph.values(layer)
    channels = graph.channels[x]
    mean, variance, total = graph.learnt(layer, (channels,), (channels,), (1,))
    share = np.float32(0 if total[0] == 0 else 1 / total[0])  # Caffe keeps sums and how much was summed
    gamma, beta = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    if scale is not None:
        gamma, beta = _gamma_beta(graph, scale, channels)
    parts = {"scale": gamma, "bias": beta, "mean": mean * share, "variance": variance * share}
    names = [graph.constant(f"{layer.name}/{part}", array) for part, array in parts.items()]
    epsilon = layer.batch_norm_param.eps
    graph.top(scale or layer, "BatchNormalization", [x, *names], channels, epsilon=epsilon)


def scale(graph: Graph, layer) -> None:
    """Mul and Add with one number a channel."""
    _check_single(layer)
    (x,) = graph.values(layer)
    channels = graph.channels[x]
    gamma, beta = _gamma_beta(graph, layer, channels)
    factor = graph.constant(f"{layer.name}/factor", gamma[:, None, None])
    if not layer.scale_param.bias_term:
        graph.top(layer, "Mul", [x, factor], channels)
        return
    product = graph.inner(layer, "Mul", [x, factor], "product")
    term = graph.constant(f"{layer.name}/term", beta[:, None, None])
    graph.top(layer, "Add", [product, term], channels)


def _gamma_beta(graph: Graph, layer, channels: int) -> tuple[np.ndarray, np.ndarray]:
    param = layer.scale_param
    if (param.axis, param.num_axes) != (1, 1):
        fact = f"scales along axis {param.axis} and {param.num_axes} axes"
        raise NetError(layer.name, fact, "export a net that scales channels")
    gamma, *beta = graph.learnt(layer, *[(channels,)] * (2 if param.bias_term else 1))
    return gamma, beta[0] if beta else np.zeros(channels, np.float32)


CONVERTERS: dict[str, Callable[[Graph, object], None]] = {
    "BatchNorm": batch_norm,
    "Concat": concat,
    "Convolution": convolution,
    "Eltwise": eltwise,
    "Interp": interp,
    "Pooling": pooling,
    "Power": power,
    "ReLU": relu,
    "Scale": scale,
    "Slice": slice_,
    "Softmax": softmax,
}
