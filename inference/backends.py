"""What computes the net: Caffe, onnxruntime or OpenVINO.

A backend is loaded when a net is opened: a command reads its arguments, and sets threads, before that.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import NetError

if TYPE_CHECKING:
    from inference.caffe_net import CaffeNet
    from inference.deploy import Deploy
    from inference.onnx_net import OnnxNet

CAFFE = "caffe"
CAFFE_BF16 = "caffe-bf16"  # fused layers multiply in bfloat16: faster, and not quite the same maps
ONNXRUNTIME = "onnxruntime"
OPENVINO = "openvino"
BACKENDS = (CAFFE, CAFFE_BF16, ONNXRUNTIME, OPENVINO)


def open_nets(
    backend: str,
    deploy: "Deploy",
    weights: Sequence[Path],
    task: str,
    side: int | None = None,
    batch: int = 1,
    gpu: int | None = None,
) -> "Sequence[CaffeNet | OnnxNet]":
    """Return a net of one of BACKENDS for each of `weights`; other arguments as for `CaffeNet`.

    Caffe's nets share their memory. Raises NetError where the CPU lacks what CAFFE_BF16 needs, and for
    a `gpu` with a backend other than CAFFE.
    """
    if gpu is not None and backend != CAFFE:
        remedy = f"leave --gpu out, or choose --backend {CAFFE}"
        raise NetError(deploy.path, f"--backend {backend} computes on the CPU", remedy)
    if backend in (CAFFE, CAFFE_BF16):
        from inference.caffe_net import CaffeNet

        first = CaffeNet(deploy, weights[0], task, side, batch, gpu, bf16=backend == CAFFE_BF16)
        return [first, *(first.with_weights(path) for path in weights[1:])]
    from inference.onnx_net import OnnxRuntimeNet, OpenVinoNet

    kind = {ONNXRUNTIME: OnnxRuntimeNet, OPENVINO: OpenVinoNet}[backend]
    return [kind(deploy, path, task, side) for path in weights]
