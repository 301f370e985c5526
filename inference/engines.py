"""The engines that predict tiles: Caffe, and for those in a hurry onnxruntime and OpenVINO."""

from pathlib import Path

from inference.caffe_net import CaffeNet
from inference.deploy import Deploy
from inference.onnx_net import OnnxRuntimeNet, OpenVinoNet
from inference.predictor import TileNet

ENGINES: dict[str, type[TileNet]] = {
    "caffe": CaffeNet,
    "onnxruntime": OnnxRuntimeNet,
    "openvino": OpenVinoNet,
}
DEFAULT = "caffe"


def open_net(engine: str, deploy: Deploy, weights: Path, task: str, side: int | None = None) -> TileNet:
    """Return a deploy net with weights that answers for `task` in one of ENGINES; see `CaffeNet`."""
    return ENGINES[engine](deploy, weights, task, side)
