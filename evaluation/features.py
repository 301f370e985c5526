"""Feature maps of trained nets on the same images, for the paper's Figure 3 (section 2.2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.datasets import Dataset
from common.errors import NetError
from inference.caffe_net import CaffeNet
from inference.deploy import INPUT, read_deploy
from inference.loading import trained_task
from inference.predictor import preprocess
from prototxt_gen.models import OUTPUT_SUFFIX
from prototxt_gen.prototxt import head_of, net_outputs


@dataclass(frozen=True)
class TrunkBlob:
    """A blob of a net's trunk, which all tasks share.

    `layer` is the last that writes it, `depth` counts the layers on the longest way there, `ahead` those on
    the longest way from there to an answer, `rate` is how many times smaller than the input it is.
    """

    name: str
    layer: str
    depth: int
    ahead: int
    rate: int


def trunk(net, sizes: Mapping[str, int]) -> dict[str, TrunkBlob]:
    """Return the blobs of a net (as NetParameter), without input and heads, in order.

    `sizes` gives each blob's height in pixels.
    """
    heads = set().union(*(head_of(net, top) for top in net_outputs(net) if top.endswith(OUTPUT_SUFFIX)))
    ahead: dict[str, int] = {}
    for layer in reversed(net.layer):
        for bottom in layer.bottom:
            ahead[bottom] = max(ahead.get(bottom, 0), 1 + max(ahead.get(top, 0) for top in layer.top))
    depths = {INPUT: 0}
    blobs: dict[str, TrunkBlob] = {}
    for layer in net.layer:
        known = [depths[name] for name in layer.bottom if name in depths]
        if layer.name in heads or not known:
            continue
        for top in layer.top:
            depths[top] = max(known) + 1
            if sizes.get(top, 0) > 1:
                rate = (sizes[INPUT] - 1) // (sizes[top] - 1)
                blobs[top] = TrunkBlob(top, layer.name, depths[top], ahead[top], rate)
    return blobs


def deepest(blobs: Mapping[str, TrunkBlob], rate: int | None = None) -> TrunkBlob:
    """Return the deepest blob, of those of a downsample rate if given.

    Of equals it is that with most layers ahead, which goes on to the next block, and not its projection for
    dense fusion; else the first.
    """
    candidates = (blob for blob in blobs.values() if rate in (None, blob.rate))
    return max(candidates, key=lambda blob: (blob.depth, blob.ahead))


class FeatureNet(CaffeNet):
    """A deploy net that gives a blob from its middle for square images of one side, 32k+1."""

    def __init__(
        self,
        deploy: Path,
        weights: Path,
        task: str | None,
        dataset: Dataset | None,
        side: int,
        warn: Callable[[str], None],
    ) -> None:
        """Build the net; raises as CaffeNet and `trained_task` do."""
        net = read_deploy(deploy)
        self.deploy = Path(deploy)
        self.trained = trained_task(Path(weights), net, task, dataset, warn)
        super().__init__(net, weights, self.trained.task, side)
        shapes = {name: tuple(blob.shape) for name, blob in self._net.blobs.items()}
        sizes = {name: shape[2] for name, shape in shapes.items() if len(shape) == 4}
        self.blobs = trunk(net.net, sizes)
        if not self.blobs:
            raise NetError(deploy, "has heads only", "give a net that dfcnet make-net emits")

    def blob(self, name: str) -> TrunkBlob:
        """Return a blob of the trunk by name; NetError where there is none."""
        if name not in self.blobs:
            fact = f"has no blob {name} before its heads"
            raise NetError(self.deploy, fact, f"choose another --blobs, as {deepest(self.blobs).name}")
        return self.blobs[name]

    def feature(self, blob: TrunkBlob, image: np.ndarray) -> np.ndarray:
        """Return a blob (C, h, w) float32 for an image (side, side, bands)."""
        self._reshape(1)
        self._net.blobs[INPUT].data[0] = preprocess(image, self.trained.mean, self.trained.scale)
        self._net.forward(end=blob.layer)
        return self._net.blobs[blob.name].data[0].copy()


def choose_blobs(nets: Sequence[FeatureNet], names: Sequence[str] | None = None) -> list[TrunkBlob]:
    """Return a blob per net: `names`, or the deepest ones "with the same downsample rate".

    That rate is the coarsest of the nets' deepest blobs: 4 for the baseline beside DFCNet.
    """
    if names is not None:
        if len(names) not in (1, len(nets)):
            raise NetError(
                "--blobs", f"{len(names)} for {len(nets)} nets", "give one for each, or one for all"
            )
        names = names if len(names) == len(nets) else list(names) * len(nets)
        return [net.blob(name) for net, name in zip(nets, names, strict=True)]
    rate = max(deepest(net.blobs).rate for net in nets)
    return [deepest(net.blobs, rate) for net in nets]


def strongest(features: Sequence[np.ndarray], count: int) -> list[int]:
    """Return the `count` channels that vary most over all images (each (C, h, w)), the first the most."""
    flat = np.concatenate([feature.reshape(len(feature), -1) for feature in features], axis=1)
    return np.argsort(-flat.var(axis=1), kind="stable")[:count].tolist()
