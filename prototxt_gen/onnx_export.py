"""A deploy net with its weights as an ONNX model, for runtimes other than Caffe.

Batch and sides stay free: the sizes that Interp gives are computed inside the graph. Written from the
prototxt and the .caffemodel alone; Caffe's native library is not loaded.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from common.errors import NetError
from common.files import staged_file
from common.optional import import_optional
from prototxt_gen.caffemodel import Weights
from prototxt_gen.fused_weights import plain_view
from prototxt_gen.input_comment import bands_text
from prototxt_gen.model_card import ModelCard
from prototxt_gen.onnx_graph import Graph
from prototxt_gen.onnx_layers import CONVERTERS, batch_norm
from prototxt_gen.prototxt import layers_for, net_inputs, net_outputs
from prototxt_gen.shapes import STEP, is_input_size
from prototxt_gen.unfuse import unfuse

SIDES = "sides must be 32k+1"  # what a backend says, as a node's name, of other tiles
OPSET, IR_VERSION = 18, 8  # of 2022: old enough for every runtime in use


def to_onnx(
    net, weights: Weights, where: object, card: ModelCard | None = None, outputs: Sequence[str] | None = None
):
    """Return the onnx.ModelProto of a deploy NetParameter, whose input is (N, bands, H, W) float32.

    Net and weights may be of plain layers, folded, or of fused ones, which are written as plain ones.
    `where` names the weights' file in errors; `outputs` are the blobs to compute (default: all that no
    layer reads). `card` goes into the model's metadata, a key for each of its fields, as JSON. Raises
    NetError for layers without an ONNX form, WeightsError for weights of another net. Run at sides that are
    not 32k+1, where a map would not have the input's size, the model fails at a node that says so.
    """
    net = unfuse(net)
    outputs = list(outputs or net_outputs(net))
    layers = layers_for(net, outputs)
    graph = Graph(layers, plain_view(weights), where)
    inputs = net_inputs(net)
    for blob, shape in inputs.items():
        graph.input(blob, shape[1])
        if all(map(is_input_size, shape[2:])):
            graph.require_sides(blob, STEP, f"{blob}: {SIDES}")
    _convert(graph, layers)
    onnx, helper = import_optional("onnx", "onnx"), import_optional("onnx.helper", "onnx")
    ends = [
        [
            helper.make_tensor_value_info(
                value, onnx.TensorProto.FLOAT, ["N", graph.channels[value], "H", "W"]
            )
            for value in values
        ]
        for values in (inputs, [graph.value(blob) for blob in outputs])
    ]
    made = helper.make_graph(graph.nodes, net.name or "net", *ends, graph.initializers)
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="dfcnet-caffe",
        doc_string=_doc(card),
    )
    fields = card.model_dump(mode="json") if card else {}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in fields.items()})
    onnx.checker.check_model(model, full_check=True)
    return model


def write_onnx(path: Path, model, overwrite: bool = False) -> None:
    """Write a model in one step."""
    with staged_file(path, overwrite) as staged:
        staged.write_bytes(model.SerializeToString())


def _doc(card: ModelCard | None) -> str:
    if card is None:
        return "input: bands as in training, scaled as there; sides 32k+1"
    mean = ", ".join(f"{value:g}" for value in card.mean)
    return f"input: ({bands_text(card.bands)} - [{mean}]) * {card.scale:g}, sides 32k+1"


def _convert(graph: Graph, layers: Sequence) -> None:
    following = iter(zip(layers, [*layers[1:], None], strict=True))
    for layer, behind in following:
        if layer.type not in CONVERTERS:
            fact = f"a layer of type {layer.type} has no ONNX form here"
            raise NetError(layer.name, fact, "export a deploy net of dfcnet make-net")
        if layer.type == "BatchNorm" and _is_scale_of(behind, layer):
            batch_norm(graph, layer, behind)
            next(following)
        else:
            CONVERTERS[layer.type](graph, layer)


def _is_scale_of(layer, norm) -> bool:
    """Return whether a layer is the Scale in place on a BatchNorm's top."""
    return (
        layer is not None
        and layer.type == "Scale"
        and list(layer.bottom) == list(norm.top) == list(layer.top)
    )
