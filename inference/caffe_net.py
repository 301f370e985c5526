"""Caffe's net as something that predicts tiles."""

from pathlib import Path

import numpy as np

from inference.deploy import INPUT, Deploy, check_side
from prototxt_gen.errors import NetError


class CaffeNet:
    """A deploy net with weights that answers for one task; see `predictor.TileNet`.

    `side` is the tile's side in pixels, the prototxt's own or any other 32k+1. Raises NetError where
    the net has no output for `task`, and WeightsError where the weights do not fit it.
    """

    def __init__(self, deploy: Deploy, weights: Path, task: str, side: int | None = None) -> None:
        """Build the net and load the weights; nothing is computed yet."""
        self.output = deploy.output_for(task)
        self.side = deploy.side if side is None else check_side("tile", side)

        from solvers.pycaffe import import_caffe
        from solvers.weights import load_weights

        caffe = import_caffe()
        unknown = sorted(deploy.layer_types - set(caffe.layer_type_list()))
        if unknown:
            raise NetError(
                deploy.path, f"this Caffe has no layer {unknown[0]}", "build Caffe with `make caffe`"
            )
        caffe.set_mode_cpu()
        self._net = caffe.Net(str(deploy.path), caffe.TEST)
        load_weights(self._net, Path(weights))
        self._reshape(1)
        answer = self._net.blobs[self.output].data.shape
        if len(answer) != 4 or answer[2:] != (self.side, self.side):
            raise NetError(
                deploy.path,
                f"answers {self.output} {tuple(answer)} to a tile of {self.side} x {self.side}",
                "emit a deploy net whose output has the input's size",
            )
        self.classes = answer[1]

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Return the probabilities (N, C, S, S) of `tiles` (N, 3, S, S) float32."""
        self._reshape(len(tiles))
        self._net.blobs[INPUT].data[...] = tiles
        return self._net.forward()[self.output]

    def _reshape(self, count: int) -> None:
        shape = (count, 3, self.side, self.side)
        if self._net.blobs[INPUT].data.shape != shape:
            self._net.blobs[INPUT].reshape(*shape)
            self._net.reshape()
