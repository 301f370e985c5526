"""The engines that predict tiles: Caffe, and for those in a hurry onnxruntime and OpenVINO."""

from collections.abc import Sequence
from pathlib import Path

from inference.caffe_net import CaffeNet
from inference.deploy import Deploy
from inference.onnx_net import OnnxRuntimeNet, OpenVinoNet
from prototxt_gen.errors import NetError

CAFFE = "caffe"
CAFFE_BF16 = "caffe-bf16"  # fused layers multiply in bfloat16: sooner, and not quite the same maps
OTHERS: dict[str, type[OnnxRuntimeNet | OpenVinoNet]] = {
    "onnxruntime": OnnxRuntimeNet,
    "openvino": OpenVinoNet,
}
ENGINES = (CAFFE, CAFFE_BF16, *OTHERS)


def open_nets(
    engine: str,
    deploy: Deploy,
    weights: Sequence[Path],
    task: str,
    side: int | None = None,
    batch: int = 1,
    gpu: int | None = None,
) -> Sequence[CaffeNet | OnnxRuntimeNet | OpenVinoNet]:
    """Return a net of one of ENGINES for each of `weights`; the other arguments as for `CaffeNet`.

    Caffe's nets share their memory. Raises NetError where the CPU has not what CAFFE_BF16 needs, and for a
    `gpu` with another engine than CAFFE.
    """
    if gpu is not None and engine != CAFFE:
        remedy = f"leave --gpu out, or choose --engine {CAFFE}"
        raise NetError(deploy.path, f"--engine {engine} computes on the CPU", remedy)
    if engine in (CAFFE, CAFFE_BF16):
        _set_bf16(deploy, engine == CAFFE_BF16)
        first = CaffeNet(deploy, weights[0], task, side, batch, gpu)
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
