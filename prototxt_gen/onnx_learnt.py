"""Caffe's layers with weights in ONNX's operators: convolutions, and what scales channels."""

import numpy as np

from common.errors import NetError
from prototxt_gen.onnx_graph import Graph
from prototxt_gen.windows import convolution_window


def _one(layer) -> None:
    if len(layer.bottom) != 1 or len(layer.top) != 1:
        fact = f"{layer.type} with {len(layer.bottom)} bottoms and {len(layer.top)} tops"
        raise NetError(layer.name, fact, "export a net whose layer has one of each")


def convolution(graph: Graph, layer) -> None:
    """Conv: the same sums, the same zero padding, sizes rounded down."""
    _one(layer)
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
    _one(layer)
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
    _one(layer)
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
