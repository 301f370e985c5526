"""Which plain layers a fused layer stands for: by its name and the number of its blobs.

The names of the plain layers are the canonical ones. A fused layer holds the blobs of several of them, in
the order in which these would stand in a plain net:

    dense_block<b>     DenseBlock          of all units i: conv<b>_<i>/x1/bn, /x1/scale, /x1, /x2/bn ...
    <name>             BNReLUConvolution   <name>/bn, <name>/scale, <name>
    <task>/score       BNReLUConvolution   <task>/conv/bn, <task>/conv/scale, <task>/score
    <name>/bn          BNReLU              <name>/bn, <name>/scale

So weights of both forms have one view, {plain layer: blobs}, and no number changes on the way.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # nets are emitted without NumPy, in less time
    import numpy as np

Part = tuple[str, int]  # a plain layer, and how many blobs it has
Blob = TypeVar("Blob")

STATISTICS, AFFINE, FILTERS = 3, 2, 1  # blobs of BatchNorm, of Scale, of a convolution without bias
UNIT = 2 * (STATISTICS + AFFINE + FILTERS)  # blobs of a DenseBlock's layer unit
BLOCK = re.compile(r"dense_block(\d+)")
OF_UNIT = re.compile(r"conv(\d+)_(\d+)/x[12](?:/bn|/scale)?")


def block_name(block: int | str) -> str:
    """Return the name of the layer that is DenseBlock `block`."""
    return f"dense_block{block}"


def activation(name: str) -> list[Part]:
    """Return BatchNorm and Scale called after `name`."""
    return [(f"{name}/bn", STATISTICS), (f"{name}/scale", AFFINE)]


def unit_parts(block: int | str, unit: int) -> list[Part]:
    """Return the plain layers with weights of one layer unit."""
    names = (f"conv{block}_{unit}/x{number}" for number in (1, 2))
    return [part for name in names for part in [*activation(name), (name, FILTERS)]]


def activated_name(convolution: str) -> str:
    """Return what the BatchNorm before a 1x1 convolution is called after: a head's, after its 3x3."""
    task, _, last = convolution.rpartition("/")
    return f"{task}/conv" if last == "score" else convolution


def parts(name: str, blobs: int) -> list[Part]:
    """Return the plain layers of a layer, in the order of its blobs; a plain layer is its own only part."""
    block = BLOCK.fullmatch(name)
    if block and blobs and blobs % UNIT == 0:
        return [part for unit in range(blobs // UNIT) for part in unit_parts(block[1], unit + 1)]
    if blobs == STATISTICS + AFFINE and name.endswith("/bn"):
        return activation(name.removesuffix("/bn"))
    convolution = blobs - STATISTICS - AFFINE
    if convolution in (FILTERS, FILTERS + 1):
        return [*activation(activated_name(name)), (name, convolution)]
    return [(name, blobs)]


def plain_view(layers: Mapping[str, Sequence[Blob]]) -> dict[str, list[Blob]]:
    """Return {plain layer: its blobs} of layers of any form; the blobs (or shapes) are those given."""
    view: dict[str, list[Blob]] = {}
    for name, blobs in layers.items():
        rest = list(blobs)
        for plain, number in parts(name, len(rest)):
            view[plain], rest = rest[:number], rest[number:]
    return view


def fuse(weights: Mapping[str, Sequence["np.ndarray"]]) -> dict[str, list["np.ndarray"]]:
    """Return weights of any form as fused layers hold them, the inverse of `plain_view`.

    Plain layers of which no whole fused layer can be made, as in the weights of another net, stay.
    """
    plain = plain_view(weights)
    home = {part: name for name in _candidates(plain) for part, _ in _parts_in(plain, name)}
    fused: dict[str, list[np.ndarray]] = {}
    for layer in plain:
        name = home.get(layer, layer)
        if name not in fused:
            inside = [part for part, _ in _parts_in(plain, name)] if layer in home else [layer]
            fused[name] = [blob for part in inside for blob in plain[part]]
    return fused


def _candidates(plain: Mapping[str, Sequence["np.ndarray"]]) -> list[str]:
    """Return the fused layers that the names and shapes of plain layers speak of."""
    units = [match for match in map(OF_UNIT.fullmatch, plain) if match]
    own = [name for name in plain if not OF_UNIT.fullmatch(name)]
    ones = [name for name in own if plain[name][0].shape[2:] == (1, 1)]
    stems = {f"{name}/bn" for name in own} - {f"{activated_name(name)}/bn" for name in ones}
    return [*dict.fromkeys(block_name(match[1]) for match in units), *ones, *sorted(stems)]


def _parts_in(plain: Mapping[str, Sequence["np.ndarray"]], name: str) -> list[Part]:
    """Return the parts of the fused layer `name`, or nothing if some of them are not in `plain`."""
    if block := BLOCK.fullmatch(name):
        units = [int(match[2]) for match in map(OF_UNIT.fullmatch, plain) if match and match[1] == block[1]]
        group = parts(name, UNIT * max(units))
    else:
        group = parts(name, STATISTICS + AFFINE + (0 if name.endswith("/bn") else len(plain[name])))
    return group if all(len(plain.get(part, ())) == number for part, number in group) else []
