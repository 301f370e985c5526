"""The engines that predict tiles: Caffe, and for those in a hurry onnxruntime and OpenVINO."""

from collections.abc import Sequence
from pathlib import Path

from inference.caffe_net import CaffeNet
from inference.deploy import Deploy
from inference.onnx_net import OnnxRuntimeNet, OpenVinoNet

CAFFE = "caffe"
OTHERS: dict[str, type[OnnxRuntimeNet | OpenVinoNet]] = {
    "onnxruntime": OnnxRuntimeNet,
    "openvino": OpenVinoNet,
}
ENGINES = (CAFFE, *OTHERS)


def open_nets(
    engine: str, deploy: Deploy, weights: Sequence[Path], task: str, side: int | None = None, batch: int = 1
) -> Sequence[CaffeNet | OnnxRuntimeNet | OpenVinoNet]:
    """Return a net of one of ENGINES for each of `weights`; the other arguments as for `CaffeNet`.

    Caffe's nets share their memory.
    """
    if engine == CAFFE:
        first = CaffeNet(deploy, weights[0], task, side, batch)
        return [first, *(first.twin(path) for path in weights[1:])]
    return [OTHERS[engine](deploy, path, task, side) for path in weights]
