"""An ONNX graph under construction, in single assignment: Caffe's layers in place become new values.

The last value written to a blob has the blob's name; earlier ones are called `<blob>@<layer>`, and so are
those that replace an input.
"""

from collections.abc import Sequence

import numpy as np

from common.errors import NetError, WeightsError
from common.optional import import_optional
from prototxt_gen.caffemodel import Weights
from prototxt_gen.shapes import Shape, count, shapes_text


class Graph:
    """The nodes and constants of a net's layers; `where` names the weights' file in errors."""

    def __init__(self, layers: Sequence, weights: Weights, where: object) -> None:
        self.weights, self.where = weights, where
        self.nodes, self.initializers = [], []
        self.channels: dict[str, int | None] = {}  # of each value; None where they are not followed
        self._helper = import_optional("onnx.helper", "onnx")
        self._numpy_helper = import_optional("onnx.numpy_helper", "onnx")
        self._current: dict[str, str] = {}  # blob -> the value that it holds now
        self._inputs: set[str] = set()
        self._last = {top: layer.name for layer in layers for top in layer.top}
        self._constants: set[str] = set()

    def input(self, blob: str, channels: int) -> None:
        """Make `blob` an input of the graph."""
        self._inputs.add(blob)
        self._current[blob] = blob
        self.channels[blob] = channels

    def value(self, blob: str) -> str:
        """Return the value that a blob holds after the last layer: its own name, but for inputs."""
        return self._current[blob]

    def values(self, layer) -> list[str]:
        """Return the values that a layer reads; NetError where a blob is not made by an earlier layer."""
        for bottom in layer.bottom:
            if bottom not in self._current:
                raise NetError(layer.name, f"reads {bottom}, which no layer makes", "put its layer first")
        return [self._current[bottom] for bottom in layer.bottom]

    def constant(self, name: str, values) -> str:
        """Add an array (float32, or int64 for shapes) once, and return its name."""
        if name not in self._constants:
            self._constants.add(name)
            self.initializers.append(self._numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def numbers(self, *values: int) -> str:
        """Return a constant of integers."""
        return self.constant("int64:" + ",".join(map(str, values)), np.array(values, np.int64))

    def inner(self, layer, op: str, inputs: Sequence[str], suffix: str, **attributes) -> str:
        """Add a node whose value only the layer itself reads, and return that value."""
        value = f"{layer.name}/{suffix}"
        self.nodes.append(self._helper.make_node(op, list(inputs), [value], name=value, **attributes))
        return value

    def top(
        self, layer, op: str, inputs: Sequence[str], channels: int | None, index: int = 0, **attributes
    ) -> None:
        """Add the node that makes a layer's top blob number `index`, of so many `channels`."""
        blob = layer.top[index]
        final = self._last[blob] == layer.name and blob not in self._inputs
        value = blob if final else f"{blob}@{layer.name}"
        name = layer.name if len(layer.top) == 1 else f"{layer.name}/{index}"
        self.nodes.append(self._helper.make_node(op, list(inputs), [value], name=name, **attributes))
        self._current[blob] = value
        self.channels[value] = channels

    def require_sides(self, blob: str, step: int, name: str) -> None:
        """Have a backend fail at a node `name` where the sides of the input `blob` are not `step` k + 1.

        ONNX has no assertion: the input gets the largest such sides as its shape, which only those fit.
        """
        last, steps = f"{blob}/last", f"{blob}/steps"  # the last row and column; how many steps lead there
        shape = [f"{blob}/batch", f"{blob}/sides"]
        nodes = (
            ("Shape", [blob], f"{blob}/batch", {"start": 0, "end": 2}),
            ("Shape", [blob], f"{blob}/given", {"start": 2, "end": 4}),
            ("Sub", [f"{blob}/given", self.numbers(1, 1)], last, {}),
            ("Div", [last, self.numbers(step, step)], steps, {}),
            ("Mul", [steps, self.numbers(step, step)], f"{blob}/whole", {}),
            ("Add", [f"{blob}/whole", self.numbers(1, 1)], f"{blob}/sides", {}),
            ("Concat", shape, f"{blob}/shape", {"axis": 0}),
        )
        for op, inputs, value, attributes in nodes:
            self.nodes.append(self._helper.make_node(op, inputs, [value], name=value, **attributes))
        checked = f"{blob}@sides"
        self.nodes.append(self._helper.make_node("Reshape", [blob, f"{blob}/shape"], [checked], name=name))
        self._current[blob], self.channels[checked] = checked, self.channels[blob]

    def learnt(self, layer, *shapes: Shape) -> list[np.ndarray]:
        """Return a layer's weights, float32; WeightsError where they are missing or of other shapes."""
        if layer.name not in self.weights:
            fact = f"layer {layer.name} has no weights"
            raise WeightsError(self.where, fact, "give the weights of this net")
        blobs = self.weights[layer.name]
        if [blob.size for blob in blobs] != [count(shape) for shape in shapes] or any(
            blob.ndim == len(shape) and blob.shape != shape
            for blob, shape in zip(blobs, shapes, strict=False)
        ):
            actual = shapes_text(blob.shape for blob in blobs)
            fact = f"layer {layer.name} has the shapes {actual}, the net {shapes_text(shapes)}"
            raise WeightsError(self.where, fact, "give the weights of this net")
        return [blob.astype(np.float32).reshape(shape) for blob, shape in zip(blobs, shapes, strict=True)]
