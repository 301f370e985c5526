"""Deployment without BatchNorm: its statistics go into the convolution before it, or into one Scale.

In the TEST phase BatchNorm and Scale are y = a x + c per channel, with a = gamma / sqrt(variance + eps)
and c = beta - a mean. Behind a convolution that nobody else reads, a and c go into its weights and
bias; behind concatenated features, which others read too, they stay as a Scale.
"""

from collections import Counter

import numpy as np

from common.errors import NetError, WeightsError
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.caffemodel import Weights
from prototxt_gen.fused_weights import plain_view
from prototxt_gen.unfuse import unfuse


def fold(net, weights: Weights, where: object, input_scale: float = 1.0):
    """Return (NetParameter, weights) of the folded form of a deploy net.

    `net` is a NetParameter and stays as it is; `where` names its file in errors. Net and weights may be of
    plain or of fused layers, the folded net is of plain ones. `input_scale` goes
    into the convolutions that read the input: exact, since zeros of the padding stay zeros. The mean
    stays outside: padding is zero after the mean is subtracted, so taking it into the bias would change
    the border. Raises NetError for a BatchNorm without Scale, WeightsError for missing weights.
    """
    net, weights = unfuse(net), plain_view(weights)
    if all(layer.type != "BatchNorm" for layer in net.layer):
        raise NetError(where, "belongs to a net without BatchNorm", "give the net and weights of a training")
    folded = caffe_pb2().NetParameter()
    folded.CopyFrom(net)
    del folded.layer[:]
    folded_weights: Weights = {}
    readers = Counter(bottom for layer in net.layer for bottom in set(layer.bottom))
    made_by: dict[str, object] = {}
    layers = iter(net.layer)
    for layer in layers:
        if layer.type == "BatchNorm":
            scale = next(layers, None)
            _check_pair(layer, scale, where)
            a, c = _affine(layer, scale, weights, where)
            source = made_by.get(layer.bottom[0])
            sole_reader = layer.top[0] == layer.bottom[0] or readers[layer.bottom[0]] == 1
            if source is not None and source.type == "Convolution" and sole_reader:
                _into_convolution(source, folded_weights, a, c)
                source.top[0] = layer.top[0]
                made_by = {**made_by, layer.top[0]: source}
                continue
            new = folded.layer.add()
            new.CopyFrom(scale)
            new.bottom[0] = layer.bottom[0]
            folded_weights[scale.name] = [a.astype(np.float32), c.astype(np.float32)]
        else:
            new = folded.layer.add()
            new.CopyFrom(layer)
            if layer.name in weights or layer.type in ("Convolution", "Scale"):
                folded_weights[layer.name] = [blob.copy() for blob in _learnt(layer, weights, where)]
        made_by.update(dict.fromkeys(new.top, new))
    _scale_input(folded, folded_weights, input_scale)
    return folded, folded_weights


def _check_pair(norm, scale, where: object) -> None:
    if (
        scale is None
        or scale.type != "Scale"
        or list(scale.bottom) != list(norm.top)
        or scale.top != scale.bottom
    ):
        fact = f"BatchNorm {norm.name} is not followed by a Scale in place"
        raise NetError(where, fact, "emit the deploy net with dfcnet make-net")


def _affine(norm, scale, weights: Weights, where: object) -> tuple[np.ndarray, np.ndarray]:
    """Return a and c, float64 (channels,)."""
    mean, variance, count = (blob.astype(np.float64).ravel() for blob in _learnt(norm, weights, where))
    share = 0.0 if count[0] == 0 else 1 / count[0]  # Caffe keeps sums and how much was summed
    gamma, *beta = (blob.astype(np.float64).ravel() for blob in _learnt(scale, weights, where))
    a = gamma / np.sqrt(variance * share + norm.batch_norm_param.eps)
    return a, (beta[0] if beta else 0.0) - a * mean * share


def _learnt(layer, weights: Weights, where: object) -> list[np.ndarray]:
    if layer.name not in weights:
        raise WeightsError(where, f"layer {layer.name} has no weights", "give the weights of this net")
    return weights[layer.name]


def _into_convolution(layer, weights: Weights, a: np.ndarray, c: np.ndarray) -> None:
    filters, *bias = weights[layer.name]
    filters = filters * a[:, None, None, None]
    bias = (bias[0] * a if bias else 0.0) + c
    weights[layer.name] = [filters.astype(np.float32), bias.astype(np.float32)]
    layer.convolution_param.ClearField("bias_term")


def _scale_input(net, weights: Weights, scale: float) -> None:
    inputs = {top for layer in net.layer if layer.type == "Input" for top in layer.top} | set(net.input)
    for layer in net.layer:
        if layer.type == "Convolution" and layer.bottom[0] in inputs:
            weights[layer.name][0] = (weights[layer.name][0] * np.float64(scale)).astype(np.float32)
