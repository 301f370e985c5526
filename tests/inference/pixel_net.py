"""A net small enough to compute by hand: one 1x1 convolution per task, then Softmax."""

from pathlib import Path

import numpy as np

HEAD = """
layer {{ name: "{task}_score" type: "Convolution" bottom: "data" top: "{task}_score"
  convolution_param {{ num_output: {classes} kernel_size: 1
    weight_filler {{ type: "gaussian" std: 2 }} bias_filler {{ type: "gaussian" std: 0.5 }} }} }}
layer {{ name: "{task}_prob" type: "Softmax" bottom: "{task}_score" top: "{task}_prob" }}
"""


def write_deploy(path: Path, side: int, **classes: int) -> Path:
    """Write a deploy prototxt with `classes` outputs per task."""
    size = f"dim: 1 dim: 3 dim: {side} dim: {side}"
    text = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {size} }} }} }}'
    path.write_text(text + "".join(HEAD.format(task=task, classes=count) for task, count in classes.items()))
    return path


def make_pixel_net(folder: Path) -> tuple[Path, Path, dict[str, list[np.ndarray]]]:
    """Write a deploy net (land and road, tiles of 33) and weights; return both paths and the parameters."""
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    deploy = write_deploy(folder / "deploy.prototxt", 33, land=6, road=2)
    net = caffe.Net(str(deploy), caffe.TEST)
    weights = folder / "net.caffemodel"
    net.save(str(weights))
    return deploy, weights, {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}


def by_hand(image: np.ndarray, parameters: list[np.ndarray], mean, scale: float) -> np.ndarray:
    """Return (H, W, C) probabilities of an (H, W, 3) BGR image, by numpy alone."""
    weights, bias = (blob.astype(float) for blob in parameters)
    scores = (image.astype(float) - np.array(mean)) * scale @ weights[:, :, 0, 0].T + bias
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
