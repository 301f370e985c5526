"""A Caffe net as PyTorch users would write it: torch's own layers, concatenation, autograd."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

LAZY = {"Unit", "Pieces"}  # take maps as lists of pieces along their channels


def with_units(layers: list[dict]) -> list[dict]:
    """Return the layers with BatchNorm, ReLU and 1x1 convolution in a row as one, and lazy concatenations."""
    found, k = [], 0
    while k < len(layers):
        run = layers[k : k + 3]
        types = [layer["type"] for layer in run]
        if types == ["BatchNorm", "ReLU", "Convolution"] and tuple(run[2]["kernel"]) == (1, 1):
            ends = {"bottoms": run[0]["bottoms"], "tops": run[2]["tops"]}
            found.append({"name": run[2]["name"], "type": "Unit", "layers": run, **ends})
            k += 3
            continue
        lazy = types[0] == "Concat" and layers[k]["axis"] == 1
        found.append(layers[k] | {"type": "Pieces"} if lazy else layers[k])
        k += 1
    return found


class TorchNet(nn.Module):
    """The net of a case (see `speed_files`), in training or in inference mode.

    A BatchNorm and the Scale behind it are one `batch_norm`; a ReLU works in place; a blob is forgotten
    after its last reader, as a local variable would be. `checkpointed` keeps a DenseBlock's maps once, as the
    pieces that its units append, and computes concatenation, BatchNorm, ReLU and the 1x1 convolution again in
    the backward pass, as torchvision's DenseNet does with memory_efficient.
    """

    def __init__(self, folder: Path, training: bool, device: str = "cpu", checkpointed: bool = False) -> None:
        super().__init__()
        layers = json.loads((folder / "net.json").read_text())
        self._affine = {  # BatchNorm -> the Scale behind it
            norm["name"]: scale["name"]
            for norm, scale in pairwise(layers)
            if norm["type"] == "BatchNorm" and scale["type"] == "Scale"
        }
        merged = set(self._affine.values())
        self._layers = [layer for layer in layers if layer["type"] != "Input" and layer["name"] not in merged]
        if checkpointed:
            self._layers = with_units(self._layers)
        self._blobs: dict[str, list[Tensor]] = {}
        statistics = {layer["name"] for layer in layers if layer["type"] == "BatchNorm"}
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            for key in arrays.files:
                name, _, _ = key.rpartition(":")
                tensor = torch.from_numpy(arrays[key]).to(device)
                if name not in statistics:
                    tensor = nn.Parameter(tensor, requires_grad=training)
                    self.register_parameter(key.replace(".", "_"), tensor)
                self._blobs.setdefault(name, []).append(tensor)
        for name in statistics:
            mean, variance, count = self._blobs[name]
            self._blobs[name] = [mean / count, variance / count]
        self.train(training)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the blobs that no layer reads."""
        blobs = dict(inputs)
        waiting = Counter(bottom for layer in self._layers for bottom in layer["bottoms"])
        for layer in self._layers:
            xs = [blobs[bottom] for bottom in layer["bottoms"]]
            for bottom in layer["bottoms"]:
                waiting[bottom] -= 1
                if not waiting[bottom]:
                    del blobs[bottom]
            if layer["type"] not in LAZY:
                xs = [torch.cat(x, 1) if isinstance(x, list) else x for x in xs]
            ys = self._computed(layer, xs)
            del xs
            blobs.update(zip(layer["tops"], ys if isinstance(ys, tuple) else (ys,), strict=True))
        return blobs

    def _computed(self, layer: dict, xs: list) -> Tensor | list[Tensor] | tuple[Tensor, ...]:
        return getattr(self, "_" + layer["type"].lower())(layer, *xs)

    def _unit(self, layer: dict, x: Tensor | list[Tensor]) -> Tensor:
        def joined(*pieces: Tensor) -> Tensor:
            y = torch.cat(pieces, 1)
            for part in layer["layers"]:
                y = self._computed(part, [y])
            return y

        return checkpoint(joined, *(x if isinstance(x, list) else [x]), use_reentrant=False)

    def _pieces(self, _: dict, *xs: Tensor | list[Tensor]) -> list[Tensor]:
        return [piece for x in xs for piece in (x if isinstance(x, list) else [x])]

    def _convolution(self, layer: dict, x: Tensor) -> Tensor:
        weight, *bias = self._blobs[layer["name"]]
        geometry = layer["stride"], layer["pad"], layer["dilation"]
        return functional.conv2d(x, weight, bias[0] if bias else None, *geometry)

    def _batchnorm(self, layer: dict, x: Tensor) -> Tensor:
        mean, variance = self._blobs[layer["name"]]
        gamma, beta = self._blobs[self._affine[layer["name"]]]
        momentum = 1 - layer["moving_average"]
        return functional.batch_norm(x, mean, variance, gamma, beta, self.training, momentum, layer["eps"])

    def _relu(self, _: dict, x: Tensor) -> Tensor:
        return functional.relu_(x)

    def _pooling(self, layer: dict, x: Tensor) -> Tensor:
        window = layer["kernel"], layer["stride"], layer["pad"]
        if layer["average"]:
            return functional.avg_pool2d(x, *window, ceil_mode=True, count_include_pad=False)
        return functional.max_pool2d(x, *window, ceil_mode=True)

    def _interp(self, layer: dict, x: Tensor) -> Tensor:
        size = [layer["zoom"] * (length - 1) + 1 for length in x.shape[2:]]
        return functional.interpolate(x, size, mode="bilinear", align_corners=True)

    def _concat(self, layer: dict, *xs: Tensor) -> Tensor:
        return torch.cat(xs, layer["axis"])

    def _slice(self, layer: dict, x: Tensor) -> tuple[Tensor, ...]:
        return torch.tensor_split(x, layer["points"], layer["axis"])

    def _eltwise(self, _: dict, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def _power(self, layer: dict, x: Tensor) -> Tensor:
        return x * layer["scale"]

    def _softmax(self, _: dict, x: Tensor) -> Tensor:
        return functional.softmax(x, 1)

    def _softmaxwithloss(self, layer: dict, scores: Tensor, label: Tensor) -> Tensor:
        label = label.squeeze(1).long()
        return layer["weight"] * functional.cross_entropy(scores, label, ignore_index=layer["ignore"])
