"""Weights of plain and of fused layers: one view of both, {plain layer: its blobs}; no number changes.

A fused layer holds the blobs of its plain layers in the order in which these stand in a plain net, and no
other layer of ours has five blobs or more. So the number of its blobs shows what it stands for:

    24 n    DenseBlock           n units of BatchNorm, Scale, Convolution, BatchNorm, Scale, Convolution
    6, 7    BNReLUConvolution    BatchNorm, Scale, Convolution without or with a bias
    5       BNReLU               BatchNorm, Scale

The names of a DenseBlock's layers are those that `blocks.dense_block` gives them. BatchNorm and Scale of the
two others are called after the convolution that they normalise (`<convolution>/bn`, `/scale`), or else after
the one that reads them. The first is the convolution directly before them, if it has a filter alone: such a
one has no bias because BatchNorm follows, and every other layer with weights has more than one blob.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from prototxt_gen.blocks import BLOCKS, block_name, dense_block
from prototxt_gen.experiment import DenseNet
from prototxt_gen.layers import Blob, Net

if TYPE_CHECKING:  # nets are emitted without NumPy, in less time
    import numpy as np

PlainLayer = tuple[str, int]  # a plain layer, and how many blobs it has
Values = TypeVar("Values")

STATISTICS, AFFINE, FILTERS = 3, 2, 1  # blobs of BatchNorm, of Scale, of a convolution without bias
UNIT, PARTS = 2 * (STATISTICS + AFFINE + FILTERS), 6  # blobs and plain layers of a DenseBlock's layer unit


def activation(name: str) -> list[PlainLayer]:
    """Return BatchNorm and Scale called after `name`."""
    return [(f"{name}/bn", STATISTICS), (f"{name}/scale", AFFINE)]


def is_statistics(plain_layer: str) -> bool:
    """Return whether a plain layer is a BatchNorm: its blobs are not learnt, their gradients not touched."""
    return plain_layer.endswith("/bn")


@cache
def block_parts(block: int, units: int) -> list[PlainLayer]:
    """Return the plain layers with weights of a DenseBlock."""
    net = Net("one block", "deploy")
    net.section("All")
    arch = DenseNet.model_construct(growth_rate=1, bottleneck=1)
    dense_block(net, block, Blob("x", (1, 1, 1, 1)), units, arch)
    return [(layer.name, len(layer.params)) for layer in net.layers if layer.params]


def parts(name: str, blobs: int, before: str | None) -> list[PlainLayer]:
    """Return the plain layers of a layer, in the order of its blobs; a plain layer is its own only part.

    `before` is the convolution directly before it, if it has no bias.
    """
    if name in BLOCKS and blobs and blobs % UNIT == 0:
        return block_parts(BLOCKS[name], blobs // UNIT)
    convolution = blobs - STATISTICS - AFFINE
    if convolution == 0 and before:
        return activation(before)
    if convolution in (FILTERS, FILTERS + 1):
        return [*activation(before or name), (name, convolution)]
    return [(name, blobs)]


def plain_view(layers: Mapping[str, Sequence[Values]]) -> dict[str, list[Values]]:
    """Return {plain layer: its blobs} of layers of any form; the blobs (or shapes) are those given.

    `layers` are in the order of a net, as Caffe gives and saves them.
    """
    view: dict[str, list[Values]] = {}
    before = None
    for name, blobs in layers.items():
        rest = list(blobs)
        for plain, number in parts(name, len(rest), before):
            view[plain], rest = rest[:number], rest[number:]
        before = name if len(blobs) == FILTERS else None
    return view


def fuse_weights(weights: Mapping[str, Sequence["np.ndarray"]]) -> dict[str, list["np.ndarray"]]:
    """Return weights of any form as fused layers hold them, the inverse of `plain_view`.

    Plain layers of which no whole fused layer can be made, as in the weights of another net, stay.
    """
    plain = plain_view(weights)
    names, fused, before = list(plain), {}, None
    while names:
        for name, group in _candidates(plain, names):
            number = sum(blobs for _, blobs in group)
            if parts(name, number, before) == group:  # such that `plain_view` gives these names again
                break
        fused[name] = [blob for part, _ in group for blob in plain[part]]
        before = name if len(fused[name]) == FILTERS else None
        del names[: len(group)]
    return fused


def _candidates(plain: Mapping, names: Sequence[str]) -> Iterator[tuple[str, list[PlainLayer]]]:
    """Yield the layers that could stand first in `names`, with their parts; the last is the plain one."""
    counted = [(name, len(plain[name])) for name in names]
    for block in BLOCKS.values():
        if block_parts(block, 1)[0] == counted[0]:
            units = 1
            while any(name in plain for name, _ in block_parts(block, units + 1)[-PARTS:]):
                units += 1
            group = block_parts(block, units)
            if counted[: len(group)] == group:
                yield block_name(block), group
    if len(names) > 2 and plain[names[2]][0].shape[2:] == (1, 1):
        yield names[2], counted[:3]  # BNReLUConvolution
    yield names[0], counted[:2]  # BNReLU
    yield names[0], counted[:1]
