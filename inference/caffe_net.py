"""Caffe's net as something that predicts tiles."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import numpy as np

from common.errors import NetError
from common.files import memory_file
from common.numbers import INT_MAX
from inference.deploy import INPUT, Deploy
from inference.memory import check_room, forward_bytes
from prototxt_gen.prototxt import text_for


class CaffeNet:
    """A deploy net with weights that answers for one task and computes nothing else; see `TileNet`.

    `side` is the tile's side in pixels, the prototxt's own or any other 32k+1; `gpu` the number of the GPU
    that computes (None: the CPU). With `bf16` its fused layers multiply in bfloat16. Raises NetError where
    the net has no output for `task` or no fused layer for `bf16`, the CPU no bfloat16, or a `batch` of tiles
    does not fit in memory, WeightsError where the weights do not fit the net, and ExperimentError where
    there is no such GPU.
    """

    def __init__(
        self,
        deploy: Deploy,
        weights: Path,
        task: str,
        side: int | None = None,
        batch: int = 1,
        gpu: int | None = None,
        bf16: bool = False,
    ) -> None:
        """Build the net and load the weights; nothing is computed yet."""
        self.output, self.channels = deploy.output_for(task), deploy.channels
        self.side = deploy.tile_side(side)

        from training.gpus import check_gpus
        from training.pycaffe import compute_on, import_caffe
        from training.weights import load_weights

        caffe = import_caffe()
        _check_layers(caffe, deploy)
        self._set_bf16 = caffe.set_prediction_bf16
        self._bf16 = bf16
        if bf16:
            self._check_bf16(deploy)
        if gpu is not None:
            check_gpus("--gpu", [gpu], "leave it out")
        compute_on(caffe, gpu)
        # Without the other task's head.
        with memory_file(text_for(deploy.net, [self.output])) as part:
            self._net = caffe.Net(part, caffe.TEST)
        load_weights(self._net, Path(weights))
        self._refuse_too_many(deploy, batch)
        self._reshape(batch)
        answer = tuple(self._net.blobs[self.output].shape)
        deploy.check_answer(self.output, answer, (*answer[:2], self.side, self.side))
        remedy = f"give a smaller --tile than {self.side} or --batch than {batch}, or fold the net"
        planned, _ = self._net.plan_memory()  # blobs share memory: only inputs and outputs can be read
        if gpu is None:
            check_room(deploy.path, forward_bytes(self._net, planned), remedy)
        self.classes = answer[1]
        self._parameters: dict[str, list[np.ndarray]] | None = None  # None while the net has no other weights
        self._in_net = [self]  # whose parameters the net holds; one list for all that share it

    def with_weights(self, weights: Path) -> "CaffeNet":
        """Return a net with other weights in the same memory, which the two use in turns."""
        from training.weights import load_weights

        self._enter()
        if self._parameters is None:
            self._parameters = self._copied()
        other = copy(self)
        load_weights(self._net, Path(weights))
        other._parameters = self._copied()
        self._in_net[0] = other
        return other

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Return the probabilities (N, C, S, S) of `tiles` (N, bands, S, S) float32."""
        self._enter()
        self._reshape(len(tiles))
        self._net.blobs[INPUT].data[...] = tiles
        with self._precision():
            return self._net.forward()[self.output]

    def _check_bf16(self, deploy: Deploy) -> None:
        if "DenseBlock" not in deploy.layer_types:
            remedy = "emit it with --dense-block fused, or choose --backend caffe"
            raise NetError(deploy.path, "has no fused layers, which alone multiply in bfloat16", remedy)
        with self._precision() as has_bf16:
            if not has_bf16:
                fact = "bfloat16 needs a CPU with AVX512_BF16 and a Caffe with oneDNN"
                raise NetError(deploy.path, fact, "choose --backend caffe")

    @contextmanager
    def _precision(self) -> Iterator[bool]:
        """Multiply as this net is to while the block runs: Caffe has one switch for all nets of a process."""
        has_bf16 = self._set_bf16(self._bf16)
        try:
            yield has_bf16
        finally:
            self._set_bf16(False)

    def _enter(self) -> None:
        """Put this net's own parameters into the shared Caffe net, if others are there."""
        if self._in_net[0] is self:
            return
        for name, blobs in self._net.params.items():
            for blob, values in zip(blobs, self._parameters[name], strict=True):
                blob.data[...] = values
        self._in_net[0] = self

    def _copied(self) -> dict[str, list[np.ndarray]]:
        return {name: [blob.data.copy() for blob in blobs] for name, blobs in self._net.params.items()}

    def _refuse_too_many(self, deploy: Deploy, batch: int) -> None:
        """Raise NetError where Caffe would count more values than it can, which ends the process.

        Of a blob, or of an image's columns where a convolution makes some.
        """
        grown = self.side**2 / deploy.side**2
        most = max(batch * blob.count for blob in self._net._blobs)
        most = max(most, *(layer.column_count for layer in self._net.layers))
        if most * grown > INT_MAX:
            fact = f"has maps of more than {INT_MAX:,} values at --tile {self.side} and --batch {batch}"
            raise NetError(deploy.path, fact, "give a smaller --tile or --batch")

    def _reshape(self, count: int) -> None:
        shape = (count, self.channels, self.side, self.side)
        if tuple(self._net.blobs[INPUT].shape) != shape:
            self._net.blobs[INPUT].reshape(*shape)
            self._net.reshape()


def _check_layers(caffe, deploy: Deploy) -> None:
    """Raise NetError where this Caffe lacks a layer of the net."""
    if unknown := sorted(deploy.layer_types - set(caffe.layer_type_list())):
        fact = f"this Caffe has no layer {unknown[0]}"
        raise NetError(deploy.path, fact, "build Caffe with `make caffe`")
