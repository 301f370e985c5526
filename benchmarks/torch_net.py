"""A Caffe net as PyTorch users would write it: torch's own layers, concatenation, autograd."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class TorchNet(nn.Module):
    """The net of a case (see `speed_files`), in training or in inference mode.

    A BatchNorm and the Scale behind it are one `batch_norm`; a ReLU works in place; a blob is forgotten
    after its last reader, as a local variable would be.
    """

    def __init__(self, folder: Path, training: bool, device: str = "cpu") -> None:
        super().__init__()
        layers = json.loads((folder / "net.json").read_text())
        self._affine = {  # BatchNorm -> the Scale behind it
            norm["name"]: scale["name"]
            for norm, scale in pairwise(layers)
            if norm["type"] == "BatchNorm" and scale["type"] == "Scale"
        }
        merged = set(self._affine.values())
        self._layers = [layer for layer in layers if layer["type"] != "Input" and layer["name"] not in merged]
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
            ys = getattr(self, "_" + layer["type"].lower())(layer, *xs)
            del xs
            blobs.update(zip(layer["tops"], ys if isinstance(ys, tuple) else (ys,), strict=True))
        return blobs

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
