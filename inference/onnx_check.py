"""An exported net compared with Caffe: the same tiles through both."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inference.caffe_net import CaffeNet
from inference.deploy import INPUT, read_deploy
from prototxt_gen.model_card import ModelCard
from prototxt_gen.optional import optional
from prototxt_gen.sides import SMALLEST

TOLERANCE = 1e-4  # of probabilities


def compare(
    path: Path, deploy: Path, weights: Path, card: ModelCard | None, side: int | None = None
) -> Iterator[tuple[str, float]]:
    """Yield (what was compared, largest difference of probabilities) for a model written at `path`.

    The model runs in onnxruntime. The tiles are of `side` (default: the prototxt's): random, black,
    white, with white borders, and two at once; then a random one of the smallest side.
    """
    net = read_deploy(deploy)
    session = optional("onnxruntime", "onnx").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    tasks = [output.name.removesuffix("_prob") for output in session.get_outputs()]
    mean, scale = (card.mean, card.scale) if card else ((128.0,) * 3, 1 / 64)
    for length in dict.fromkeys((side or net.side, SMALLEST)):
        nets = [CaffeNet(net, weights, task, length) for task in tasks]
        for name, tiles in _tiles(length).items():
            scaled = ((tiles - np.float32(mean)) * np.float32(scale)).transpose(0, 3, 1, 2)
            answers = session.run([caffe.output for caffe in nets], {INPUT: np.ascontiguousarray(scaled)})
            for caffe, answer in zip(nets, answers, strict=True):
                difference = float(np.abs(caffe(scaled) - answer).max())
                yield f"{caffe.output}, {name} of {length}", difference


def _tiles(side: int) -> dict[str, np.ndarray]:
    """Return name -> (N, side, side, 3) float32, BGR in 0-255."""
    rng = np.random.default_rng(0)
    random = rng.integers(0, 256, (2, side, side, 3)).astype(np.float32)
    edge = np.zeros((1, side, side, 3), np.float32)
    edge[:, [0, -1]] = edge[:, :, [0, -1]] = 255
    tiles = {"random tile": random[:1]}
    if side > SMALLEST:
        tiles |= {"black tile": 0 * edge, "white tile": 0 * edge + 255, "tile with a white border": edge}
    return tiles | {"two random tiles": random}
