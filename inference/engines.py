"""The engines that predict tiles: Caffe, and for those in a hurry onnxruntime and OpenVINO."""

from collections.abc import Sequence
from pathlib import Path

from inference.caffe_net import CaffeNet
from inference.deploy import Deploy
from inference.engine_names import CAFFE, CAFFE_BF16, ONNXRUNTIME, OPENVINO
from inference.onnx_net import OnnxRuntimeNet, OpenVinoNet
from prototxt_gen.errors import NetError

OTHERS: dict[str, type[OnnxRuntimeNet | OpenVinoNet]] = {ONNXRUNTIME: OnnxRuntimeNet, OPENVINO: OpenVinoNet}


def open_nets(
    engine: str, deploy: Deploy, weights: Sequence[Path], task: str, side: int | None = None, batch: int = 1
) -> Sequence[CaffeNet | OnnxRuntimeNet | OpenVinoNet]:
    """Return a net of one of `engine_names.ENGINES` for each of `weights`; other arguments as for `CaffeNet`.

    Caffe's nets share their memory. Raises NetError where the CPU has not what CAFFE_BF16 needs.
    """
    if engine in (CAFFE, CAFFE_BF16):
        _set_bf16(deploy, engine == CAFFE_BF16)
        first = CaffeNet(deploy, weights[0], task, side, batch)
        return [first, *(first.twin(path) for path in weights[1:])]
    return [OTHERS[engine](deploy, path, task, side) for path in weights]


def _set_bf16(deploy: Deploy, wanted: bool) -> None:
    from solvers.pycaffe import import_caffe

    if wanted and "DenseBlock" not in deploy.layer_types:
        remedy = "emit it with --dense-block fused, or choose --engine caffe"
        raise NetError(deploy.path, "has no fused layers, which alone multiply in bfloat16", remedy)
    if import_caffe().set_prediction_bf16(wanted) != wanted:
        fact = "bfloat16 needs a CPU with AVX512_BF16 and a Caffe with oneDNN"
        raise NetError(deploy.path, fact, "choose --engine caffe")
