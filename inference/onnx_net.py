"""onnxruntime and OpenVINO as something that predicts tiles: the deploy net, exported as ONNX in memory."""

from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path

import numpy as np

from common.optional import import_optional
from inference.deploy import INPUT, Deploy
from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.onnx_export import to_onnx
from training.communicators import threads_wanted


class OnnxNet(ABC):
    """A deploy net with weights that answers for one task on the CPU; see `predictor.TileNet`.

    The arguments are those of `caffe_net.CaffeNet`. It uses as many threads as Caffe's BLAS would:
    OPENBLAS_NUM_THREADS, else one a core. Raises NetError where the net has no output for `task` or a layer
    has no ONNX form, WeightsError where the weights do not fit, DFCNetError where the backend is not
    installed.
    """

    def __init__(self, deploy: Deploy, weights: Path, task: str, side: int | None = None) -> None:
        """Export the net, unless this process has done so, and hand it to the backend."""
        self.output, self.channels = deploy.output_for(task), deploy.channels
        self.side = deploy.tile_side(side)
        self._deploy = deploy
        model, self.classes = exported(deploy, Path(weights), self.output)
        self._open(model, threads_wanted() or 0)

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Return the probabilities (N, C, S, S) of `tiles` (N, bands, S, S) float32."""
        answer = self._run(np.ascontiguousarray(tiles, np.float32))
        expected = (len(tiles), self.classes, self.side, self.side)
        self._deploy.check_answer(self.output, answer.shape, expected)
        return answer

    @abstractmethod
    def _open(self, model: bytes, threads: int) -> None:
        """Load `model`, for so many threads; 0: one a core."""

    @abstractmethod
    def _run(self, tiles: np.ndarray) -> np.ndarray:
        """Return the net's answer to tiles (N, C, S, S)."""


class OnnxRuntimeNet(OnnxNet):
    """The net in onnxruntime."""

    def _open(self, model: bytes, threads: int) -> None:
        onnxruntime = import_optional("onnxruntime", "onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = threads
        for axis in ("H", "W"):  # known sizes let it plan its memory once
            options.add_free_dimension_override_by_name(axis, self.side)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _run(self, tiles: np.ndarray) -> np.ndarray:
        return self._session.run([self.output], {INPUT: tiles})[0]


class OpenVinoNet(OnnxNet):
    """The net in OpenVINO, in float32 also where the CPU has a faster bfloat16."""

    def _open(self, model: bytes, threads: int) -> None:
        core = import_optional("openvino", "openvino").Core()
        net = core.read_model(model, b"")
        net.reshape([1, self.channels, self.side, self.side])
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._request = core.compile_model(net, "CPU", options).create_infer_request()

    def _run(self, tiles: np.ndarray) -> np.ndarray:
        return np.concatenate([self._infer(tile[None]) for tile in tiles])

    def _infer(self, tile: np.ndarray) -> np.ndarray:
        self._request.infer({INPUT: tile})
        return self._request.get_output_tensor(0).data.copy()


def exported(deploy: Deploy, weights: Path, output: str) -> tuple[bytes, int]:
    """Return a serialised ONNX model that computes `output`, and that output's channels.

    A process exports the same files once.
    """
    stamps = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in (deploy.path, weights))
    return _exported(deploy, weights, output, stamps)


@lru_cache(maxsize=4)
def _exported(deploy: Deploy, weights: Path, output: str, _stamps: tuple[int, ...]) -> tuple[bytes, int]:
    model = to_onnx(deploy.net, read_caffemodel(weights), weights, outputs=[output])
    channels = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    return model.SerializeToString(), channels
