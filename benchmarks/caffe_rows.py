"""A net in Caffe as rows of the speed benchmark: `caffe_rows.py KIND FOLDER THREADS`, see `serving.serve`."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import NO_BF16, SGD, Blobs, runner
from serving import serve

from prototxt_gen.prototxt import read_net
from training.pycaffe import import_caffe
from training.weights import load_weights


def open_caffe(folder: Path):
    """Return the module `caffe`; raise ModuleNotFoundError where it lacks a layer of the net."""
    caffe = import_caffe()
    caffe.set_mode_cpu()
    types = {layer.type for layer in read_net(folder / "net.prototxt").layer}
    lacking = sorted(types - set(caffe.layer_type_list()))
    if lacking:
        raise ModuleNotFoundError(name=f"the layer {lacking[0]}")
    return caffe


class CaffePrediction:
    """The TEST phase of the net of a case, its blobs sharing memory as in predict.py.

    Threads are those of the environment (OPENBLAS_NUM_THREADS).
    """

    def __init__(self, folder: Path, _threads: int, bf16: bool = False) -> None:
        caffe = open_caffe(folder)
        if caffe.set_prediction_bf16(bf16) != bf16:
            raise ModuleNotFoundError(name=NO_BF16)
        self._net = caffe.Net(str(folder / "net.prototxt"), caffe.TEST)
        load_weights(self._net, folder / "net.caffemodel")
        self._net.plan_memory()

    def run(self, inputs: Blobs) -> Blobs:
        """Return the probabilities."""
        for name, array in inputs.items():
            self._net.blobs[name].data[...] = array
        return self._net.forward()


class CaffeTraining:
    """An iteration of Caffe's SGD solver: forward, losses, backward, update."""

    def __init__(self, folder: Path, _threads: int) -> None:
        caffe = open_caffe(folder)
        solver = folder / "solver.prototxt"
        settings = {"base_lr": SGD["lr"], **{key: SGD[key] for key in ("momentum", "weight_decay")}}
        lines = [f"{key}: {value}" for key, value in settings.items()]
        solver.write_text("\n".join([f'net: "{folder}/net.prototxt" lr_policy: "fixed" snapshot: 0', *lines]))
        self._solver = caffe.SGDSolver(str(solver))
        load_weights(self._solver.net, folder / "net.caffemodel")

    def run(self, inputs: Blobs) -> Blobs:
        """Do one iteration; return the losses before its update."""
        net = self._solver.net
        for name, array in inputs.items():
            net.blobs[name].data[...] = array
        self._solver.step(1)
        return {name: net.blobs[name].data.copy() for name in net.outputs}


KINDS = {
    "caffe": CaffePrediction,
    "caffe-bf16": partial(CaffePrediction, bf16=True),
    "caffe-training": CaffeTraining,
}

if __name__ == "__main__":
    serve({kind: partial(runner, make) for kind, make in KINDS.items()})
