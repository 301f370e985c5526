"""What all rows of the speed benchmark share: one net, its weights and one input, as files.

`net.json` holds the layers with Caffe's defaults resolved, `weights.npz` the blobs as `<layer>:<number>`,
so that a Python without protobuf can read them.
"""

import json
from pathlib import Path

import numpy as np

from prototxt_gen.caffemodel import Weights, write_caffemodel
from prototxt_gen.layers import Net
from prototxt_gen.shapes import convolution_window, pooling_window


def random_weights(net: Net, seed: int = 1) -> Weights:
    """Return weights as if trained: convolutions as He et al. draw them, statistics that have seen images."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for layer in net.layers:
        blobs = [np.zeros(shape, np.float32) for shape in layer.params]
        if layer.type == "Convolution":
            blobs[0] = rng.normal(0, np.sqrt(2 / np.prod(layer.params[0][1:])), layer.params[0])
        elif layer.type == "BatchNorm":
            blobs = [rng.normal(0, 0.3, layer.params[0]), rng.uniform(0.5, 2, layer.params[1]), np.ones(1)]
        elif layer.type == "Scale":
            blobs = [rng.uniform(0.5, 1, layer.params[0]), rng.normal(0, 0.1, layer.params[1])]
        if blobs:
            weights[layer.name] = [blob.astype(np.float32) for blob in blobs]
    return weights


def write_case(folder: Path, net, weights: Weights, inputs: dict[str, np.ndarray]) -> None:
    """Write a NetParameter with weights and inputs as every row reads them."""
    from google.protobuf import text_format

    folder.mkdir(parents=True)
    (folder / "net.prototxt").write_text(text_format.MessageToString(net))
    write_caffemodel(folder / "net.caffemodel", net.name, weights)
    (folder / "net.json").write_text(json.dumps(describe(net)))
    arrays = {f"{name}:{i}": blob for name, blobs in weights.items() for i, blob in enumerate(blobs)}
    np.savez(folder / "weights.npz", **arrays)
    np.savez(folder / "inputs.npz", **inputs)


def describe(net) -> list[dict]:
    """Return the layers of a NetParameter as {name, type, bottoms, tops, ...numbers that it needs}."""
    return [
        {
            "name": layer.name,
            "type": layer.type,
            "bottoms": list(layer.bottom),
            "tops": list(layer.top),
            **_numbers(layer),
        }
        for layer in net.layer
    ]


def _numbers(layer) -> dict:
    numbers: dict = {}
    match layer.type:
        case "Convolution":
            numbers = convolution_window(layer)._asdict()
        case "Pooling":
            average = layer.pooling_param.pool == layer.pooling_param.AVE
            numbers = {**pooling_window(layer)._asdict(), "average": average}
        case "Interp":
            numbers = {"zoom": layer.interp_param.zoom_factor}
        case "BatchNorm":
            param = layer.batch_norm_param
            numbers = {"eps": param.eps, "moving_average": param.moving_average_fraction}
        case "Concat":
            numbers = {"axis": layer.concat_param.axis}
        case "Slice":
            numbers = {"axis": layer.slice_param.axis, "points": list(layer.slice_param.slice_point)}
        case "Power":
            numbers = {"scale": layer.power_param.scale}
        case "SoftmaxWithLoss":
            weight = layer.loss_weight[0] if layer.loss_weight else 1.0
            numbers = {"ignore": layer.loss_param.ignore_label, "weight": weight}
    return numbers
