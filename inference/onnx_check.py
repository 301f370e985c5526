"""An exported net compared with Caffe: the same tiles through both."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from common.optional import import_optional
from inference.caffe_net import CaffeNet
from inference.deploy import INPUT, read_deploy
from prototxt_gen.model_card import ModelCard
from prototxt_gen.shapes import MIN_INPUT_SIZE

TOLERANCE = 1e-4  # of probabilities
LARGEST = 257  # pixels: Caffe's plain layers want gigabytes for more


def compare(
    path: Path, deploy: Path, weights: Path, card: ModelCard | None, side: int | None = None
) -> Iterator[tuple[str, float]]:
    """Yield (what was compared, largest difference of probabilities) for a model written at `path`.

    The model runs in onnxruntime. The tiles are of `side` (default: the prototxt's, but at most
    LARGEST): random, black, white, with a white border, and two at once; then random ones of the smallest
    side.
    """
    net = read_deploy(deploy)
    session = import_optional("onnxruntime", "onnx").InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    outputs = {output.name for output in session.get_outputs()}
    tasks = [task for task in net.tasks if net.output_for(task) in outputs]
    mean, scale = (card.mean, card.scale) if card else ((128.0,) * net.channels, 1 / 64)
    for length, task in product(dict.fromkeys((side or min(net.side, LARGEST), MIN_INPUT_SIZE)), tasks):
        caffe = CaffeNet(net, weights, task, length)
        for name, tiles in _tiles(length, net.channels).items():
            scaled = ((tiles - np.float32(mean)) * np.float32(scale)).transpose(0, 3, 1, 2)
            (answer,) = session.run([caffe.output], {INPUT: np.ascontiguousarray(scaled)})
            difference = float(np.abs(caffe(scaled) - answer).max())
            yield f"{caffe.output}, {name} of {length}", difference


def _tiles(side: int, channels: int) -> dict[str, np.ndarray]:
    """Return name -> (N, side, side, channels) float32 in 0-255."""
    rng = np.random.default_rng(0)
    random = rng.integers(0, 256, (2, side, side, channels)).astype(np.float32)
    edge = np.zeros((1, side, side, channels), np.float32)
    edge[:, [0, -1]] = edge[:, :, [0, -1]] = 255
    tiles = {"random tile": random[:1]}
    if side > MIN_INPUT_SIZE:
        tiles |= {"black tile": 0 * edge, "white tile": 0 * edge + 255, "tile with a white border": edge}
    return tiles | {"two random tiles": random}
