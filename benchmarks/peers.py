"""The same net with the same weights in PyTorch, onnxruntime and OpenVINO, on the CPU.

Each class takes the folder that `speed_files.write_case` has filled and the number of threads; `run`
takes input blobs by name and returns output blobs by name. As a program: `peers.py KIND FOLDER THREADS`,
see `serving.serve`. Nothing of this project is imported: any Python that has the runtimes will do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from serving import Runner, serve

Blobs = dict[str, np.ndarray]
SGD = {"lr": 0.001, "momentum": 0.9, "weight_decay": 0.0005}  # the paper's, section 3.2


NO_BF16 = "bfloat16 on this CPU"


def has_bf16() -> bool:
    """Return whether the CPU multiplies bfloat16; elsewhere it is emulated, slowly."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def read_inputs(folder: Path) -> Blobs:
    """Return a case's input blobs."""
    with np.load(folder / "inputs.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@dataclass(frozen=True)
class TorchWay:
    """How PyTorch runs a net: layout of the maps, `torch.compile`, bfloat16 autocast, checkpointed units."""

    channels_last: bool = False
    compiled: bool = False
    bf16: bool = False
    checkpointed: bool = False


class PyTorchNet:
    """A case's net in PyTorch, and its inputs as that net takes them."""

    def __init__(self, folder: Path, threads: int, way: TorchWay, training: bool) -> None:
        import torch
        from torch_net import TorchNet

        if way.bf16 and not has_bf16():
            raise ModuleNotFoundError(name=NO_BF16)
        torch.set_num_threads(threads)
        self._torch, self._way = torch, way
        net = TorchNet(folder, training, checkpointed=way.checkpointed)
        self.parameters = list(net.parameters())
        self._net = net.to(memory_format=self._layout)
        if way.compiled:
            self._net = torch.compile(self._net)

    @property
    def _layout(self):
        return self._torch.channels_last if self._way.channels_last else self._torch.contiguous_format

    def __call__(self, inputs: Blobs) -> dict:
        """Return the net's outputs as tensors."""
        torch = self._torch
        tensors = {
            name: torch.from_numpy(array).contiguous(memory_format=self._layout)
            for name, array in inputs.items()
        }
        with torch.autocast("cpu", torch.bfloat16, enabled=self._way.bf16):
            return self._net(tensors)


class PyTorchPrediction:
    """PyTorch in inference mode, its own layers, as a module's forward would call them."""

    def __init__(self, folder: Path, threads: int, way: TorchWay = TorchWay()) -> None:
        self._net = PyTorchNet(folder, threads, way, training=False)

    def run(self, inputs: Blobs) -> Blobs:
        """Return the probabilities."""
        import torch

        with torch.inference_mode():
            return {name: tensor.float().numpy() for name, tensor in self._net(inputs).items()}


class PyTorchTraining:
    """A training step in PyTorch: forward, losses, backward, SGD with momentum and weight decay."""

    def __init__(self, folder: Path, threads: int, way: TorchWay = TorchWay()) -> None:
        import torch

        self._net = PyTorchNet(folder, threads, way, training=True)
        self._optimizer = torch.optim.SGD(self._net.parameters, **SGD)

    def run(self, inputs: Blobs) -> Blobs:
        """Do one step; return the losses before it."""
        losses = self._net(inputs)
        self._optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        self._optimizer.step()
        return {name: loss.detach().float().numpy() for name, loss in losses.items()}


class OnnxRuntimePrediction:
    """onnxruntime with all its optimisations, sizes known beforehand."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        shape = read_inputs(folder)["data"].shape
        for axis, size in zip("NHW", (shape[0], *shape[2:]), strict=True):
            options.add_free_dimension_override_by_name(axis, size)
        self._session = onnxruntime.InferenceSession(
            str(folder / "net.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def run(self, inputs: Blobs) -> Blobs:
        """Return the probabilities."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


class OpenVinoPrediction:
    """OpenVINO for one tile at a time; `precision` "f32" or "bf16"."""

    def __init__(self, folder: Path, threads: int, precision: str = "f32") -> None:
        import openvino

        if precision == "bf16" and not has_bf16():
            raise ModuleNotFoundError(name=NO_BF16)
        core = openvino.Core()
        model = core.read_model(folder / "net.onnx")
        model.reshape({name: array.shape for name, array in read_inputs(folder).items()})
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        compiled = core.compile_model(model, "CPU", options)
        self._names = [output.get_any_name() for output in compiled.outputs]
        self._request = compiled.create_infer_request()

    def run(self, inputs: Blobs) -> Blobs:
        """Return the probabilities."""
        self._request.infer(inputs)
        return {name: self._request.get_tensor(name).data for name in self._names}


# What a user of PyTorch who cares tries, by the rest of the row's name.
TORCH_WAYS = {
    "": TorchWay(),
    "-channels-last": TorchWay(channels_last=True),
    "-compiled": TorchWay(channels_last=True, compiled=True),
    "-checkpointed": TorchWay(channels_last=True, checkpointed=True),
    "-bf16": TorchWay(channels_last=True, bf16=True),
}
KINDS: dict[str, Callable] = {
    **{f"pytorch{name}": partial(PyTorchPrediction, way=way) for name, way in TORCH_WAYS.items()},
    **{f"pytorch-training{name}": partial(PyTorchTraining, way=way) for name, way in TORCH_WAYS.items()},
    "onnxruntime": OnnxRuntimePrediction,
    "openvino": OpenVinoPrediction,
    "openvino-bf16": partial(OpenVinoPrediction, precision="bf16"),
}


def runner(make: Callable, folder: Path, threads: int) -> Runner:
    """Return what runs a class on its case's own inputs."""
    return partial(make(folder, threads).run, read_inputs(folder))


if __name__ == "__main__":
    serve({kind: partial(runner, make) for kind, make in KINDS.items()})
