"""The engines that predict tiles: Caffe, and for those in a hurry onnxruntime and OpenVINO."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import NetError
from inference.backend_names import CAFFE, CAFFE_BF16, ONNXRUNTIME, OPENVINO
from inference.caffe_net import CaffeNet
from inference.deploy import Deploy
from inference.onnx_net import OnnxRuntimeNet, OpenVinoNet

OTHER_BACKENDS: dict[str, type[OnnxRuntimeNet | OpenVinoNet]] = {
    ONNXRUNTIME: OnnxRuntimeNet,
    OPENVINO: OpenVinoNet,
}


def open_nets(
    backend: str,
    deploy: Deploy,
    weights: Sequence[Path],
    task: str,
    side: int | None = None,
    batch: int = 1,
    gpu: int | None = None,
) -> Sequence[CaffeNet | OnnxRuntimeNet | OpenVinoNet]:
    """Return a net of one of BACKENDS for each of `weights`; other arguments as for `CaffeNet`.

    Caffe's nets share their memory. Raises NetError where the CPU has not what CAFFE_BF16 needs, and for a
    `gpu` with another backend than CAFFE.
    """
    if gpu is not None and backend != CAFFE:
        remedy = f"leave --gpu out, or choose --engine {CAFFE}"
        raise NetError(deploy.path, f"--engine {backend} computes on the CPU", remedy)
    if backend in (CAFFE, CAFFE_BF16):
        first = CaffeNet(deploy, weights[0], task, side, batch, gpu, bf16=backend == CAFFE_BF16)
        return [first, *(first.with_weights(path) for path in weights[1:])]
    return [OTHER_BACKENDS[backend](deploy, path, task, side) for path in weights]
