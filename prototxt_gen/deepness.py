"""A deploy net as QGIS's plugin Deepness, and GeoDeep, read it: an ONNX model with a fixed tile and metadata.

Deepness (PUTvision/qgis-plugin-deepness) cuts tiles of the model's own size out of a layer that it has
resampled to the model's resolution, hands them over as RGB from 0 to 1, and takes the likeliest channel.
"""

import json
from pathlib import Path

import numpy as np

from common.datasets import RGB
from common.errors import WeightsError
from common.optional import import_optional
from prototxt_gen.caffemodel import Weights
from prototxt_gen.model_card import ModelCard, card_path
from prototxt_gen.onnx_export import to_onnx

IMAGE = "image"  # the input; what the net itself reads keeps its name
FULL = 255  # Deepness divides by it
SIDE = 513  # of a tile, in pixels


def to_deepness(
    net, weights: Weights, where: Path, card: ModelCard, task: str, side: int, resolution: float, overlap: int
):
    """Return the onnx.ModelProto of a deploy NetParameter for Deepness.

    The input is (N, bands, side, side) float32 from 0 to 1: red, green and blue, or other bands in the data
    set's order; the output the probabilities (N, classes, side, side). `resolution` is in centimetres a
    pixel, `overlap` what neighbouring tiles share, in percent. Arguments and errors are else those of
    `to_onnx`; raises WeightsError too where the weights have learnt with a stretch, of which Deepness knows
    nothing.
    """
    dataset = card.tasks[task]
    if dataset.stretch is not None:
        fact = f"learnt with a stretch {dataset.stretch_text}, and Deepness divides by {FULL}"
        raise WeightsError(card_path(where), fact, "predict with dfcnet predict")
    model = to_onnx(net, weights, where, card, [f"{task}_prob"])
    graph = model.graph
    (data,), (output,) = graph.input, graph.output
    order = RGB if set(card.bands) == set(RGB) else dataset.bands
    nodes, constants = _scaling(card, order, data.name)
    nodes += graph.node
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    helper, onnx = import_optional("onnx.helper", "onnx"), import_optional("onnx", "onnx")
    shape = ["N", len(card.bands), side, side]
    graph.input.append(helper.make_tensor_value_info(IMAGE, onnx.TensorProto.FLOAT, shape))
    for axis in (2, 3):
        output.type.tensor_type.shape.dim[axis].dim_value = side
    model.doc_string = f"input: {', '.join(order)} from 0 to 1"
    del model.metadata_props[:]
    helper.set_model_props(model, _metadata(dataset.class_names, side, resolution, overlap))
    onnx.checker.check_model(model, full_check=True)
    return model


def _scaling(card: ModelCard, order: tuple[str, ...], name: str) -> tuple[list, list]:
    """Return nodes that make the net's input `name` of IMAGE, with bands in `order`; and their constants."""
    helper = import_optional("onnx.helper", "onnx")
    from_array = import_optional("onnx.numpy_helper", "onnx").from_array
    arrays = {
        "bands": np.array([order.index(band) for band in card.bands], np.int64),
        "grey_levels": np.float32(FULL),
        "mean": np.array(card.mean, np.float32)[:, None, None],
        "scale": np.float32(card.scale),
    }
    nodes, value = [], IMAGE
    steps = (("Gather", "bands", {"axis": 1}), ("Mul", "grey_levels", {}), ("Sub", "mean", {}))
    for op, constant, attributes in (*steps, ("Mul", "scale", {})):
        result = name if constant == "scale" else f"{IMAGE}@{constant}"
        inputs = [value, f"{IMAGE}/{constant}"]
        nodes.append(helper.make_node(op, inputs, [result], name=f"{IMAGE}@{constant}", **attributes))
        value = result
    constants = [from_array(np.asarray(array), f"{IMAGE}/{key}") for key, array in arrays.items()]
    return nodes, constants


def _metadata(classes: tuple[str, ...], side: int, resolution: float, overlap: int) -> dict[str, str]:
    """Return what Deepness and GeoDeep read, each value as JSON.

    Nothing is left to a threshold, and no small segment is removed: the map is the net's. The tile's size has
    one name in Deepness's code and another on its pages.
    """
    values = {
        "model_type": "Segmentor",
        "class_names": {str(label): name for label, name in enumerate(classes)},
        "resolution": resolution,
        "tile_size": side,
        "tiles_size": side,
        "tiles_overlap": overlap,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    return {key: json.dumps(value) for key, value in values.items()}
