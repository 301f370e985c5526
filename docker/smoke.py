"""Does what is installed here start: Caffe with our layers, a forward pass, NCCL where it is built in."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from training.pycaffe import import_caffe

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 5 dim: 5 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {
    num_output: 2 kernel_size: 3 pad: 1 weight_filler { type: "constant" value: 1 } } }
layer { name: "y" type: "Interp" bottom: "c" top: "y" interp_param { zoom_factor: 2 } }
"""


def main() -> None:
    """Print one line; raise where something does not work."""
    caffe = import_caffe()
    caffe.set_mode_cpu()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.prototxt")
        path.write_text(NET, encoding="utf-8")
        net = caffe.Net(str(path), caffe.TEST)
    net.blobs["x"].data[...] = 1
    answer = net.forward()["y"]
    if answer.shape != (1, 2, 9, 9) or answer[0, 0, 4, 4] != 9:
        raise SystemExit(f"smoke: a convolution of ones gives {answer[0, 0, 4, 4]}, not 9")
    nccl = "for the CPU alone"
    if caffe.has_nccl():
        size = len(caffe.NCCL.new_uid())
        if size != 128:
            raise SystemExit(f"smoke: NCCL's id has {size} bytes, not 128")
        nccl = "for GPUs, NCCL's id has 128 bytes"
    layers = len(caffe.layer_type_list())
    print(f"caffe {caffe.__version__} with {layers} kinds of layers, {nccl}: a net answers on the CPU")


if __name__ == "__main__":
    main()
