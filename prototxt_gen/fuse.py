"""A built net rewritten in our fused layers (native/overlay), each of which stands for a group of plain ones.

Parameters, their order and the function stay; what changes are the names of some blobs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from prototxt_gen.blocks import BN_RELU_CONV, DENSE_BLOCK, FUSED, INTEGRATION
from prototxt_gen.layers import MSRA, Blob, Field, Group, Layer, Net, message
from prototxt_gen.shapes import count

KINDS = (*FUSED, INTEGRATION)
SUM = message("eltwise_param", operation="SUM")
DEFAULT = message("param", lr_mult=1, decay_mult=1)

Members = dict[Group, list[Layer]]


def fuse(net: Net, keep_bottlenecks: bool = False) -> Net:
    """Return a plain net in fused layers, each in the place of the last layer of its group.

    With `keep_bottlenecks` DenseBlocks keep them for the backward pass. Sums are computed in the places of
    their addends, which no other layer may read; an integration that is not a sum stays as it is.
    """
    members: Members = {}
    for layer in net.layers:
        if group := layer.group(*KINDS):
            members.setdefault(group, []).append(layer)
    for group in [group for group in members if group.kind == INTEGRATION]:
        if SUM not in members[group][-1].fields:
            del members[group]
    fused = Net(net.name, net.phase)
    fused.plain = net
    additions, names = _sums(net, members)  # names: of the blobs that have another one here

    def add(layer: Layer) -> tuple[Blob, ...]:
        bottoms, tops = ([names.get(x.name, x) for x in blobs] for blobs in (layer.bottoms, layer.tops))
        return fused.add(
            layer.type, layer.name, bottoms, tops, *layer.fields, params=layer.params, kept=layer.kept
        )

    for section in net.sections:
        fused.section(section.title, section.part)
        for layer in section.layers:
            group = layer.group(*KINDS)
            fusing = group in members
            if fusing and (group.kind == INTEGRATION or layer is not members[group][-1]):
                continue
            tops = add(_fused(group, members[group], keep_bottlenecks) if fusing else layer)
            if fusing:
                (names[layer.tops[0].name],) = tops
            for addition in additions.get(layer.tops[0].name, ()):
                add(addition)
    return fused


def _sums(net: Net, members: Members) -> tuple[dict[str, list[Layer]], dict[str, Blob]]:
    """Return addend -> the layers that add it, behind the one that makes it; and sum -> the blob it is in.

    Addends of one size are added first, their sum is enlarged once, to the next size, and so on. That is the
    same in any order: bilinear interpolation between aligned corners is linear, and enlarging by 4 is
    enlarging by 2 twice. Interp adds in the place of the larger addend, or of the later of two equal ones.
    """
    addends: dict[str, list[Blob]] = {}  # of sums that are not addends themselves
    for group, layers in members.items():
        if group.kind == INTEGRATION:
            addends[group.name] = [x for y in _inputs(layers) for x in addends.pop(y.name, [y])]
    order = {top.name: number for number, layer in enumerate(net.layers) for top in layer.tops}
    additions: dict[str, list[Layer]] = {}
    results: dict[str, Blob] = {}
    for name, blobs in addends.items():
        left, sums = Counter(x.size for x in blobs), {}  # by size
        for x in sorted(blobs, key=lambda x: order[x.name]):
            pairs = [(sums[x.size], x)] if x.size in sums else []
            left[x.size] -= 1
            sums[x.size] = x
            for small, large in pairwise(sorted(left)):
                if left[small]:
                    break
                if small in sums and large in sums:
                    pairs.append((sums.pop(small), sums[large]))
            additions[x.name] = [_addition(*pair) for pair in pairs]
        additions[x.name][-1] = replace(additions[x.name][-1], name=name)
        (results[name],) = sums.values()
    return additions, results


def _addition(small: Blob, large: Blob) -> Layer:
    zoom = message("interp_param", zoom_factor=(large.size - 1) // (small.size - 1))
    return Layer(f"{large.name}+{small.name}", "Interp", (small, large), (large,), (zoom,), ())


def _fused(group: Group, layers: Sequence[Layer], keep_bottlenecks: bool) -> Layer:
    """Return the layer that stands for a group, its bottoms named as in the plain net."""
    bottoms, last = _inputs(layers), layers[-1]
    norm = next(layer for layer in layers if layer.type == "BatchNorm").fields[-1]
    fields, kept = [norm, last.fields[-1]] if group.kind == BN_RELU_CONV else [norm], 0
    if group.kind == DENSE_BLOCK:
        bottlenecks = [layer.tops[0] for layer in layers if layer.type == "Convolution"][::2]
        kept = keep_bottlenecks * sum(count(bottleneck.shape) for bottleneck in bottlenecks)
        fields.insert(0, _dense_block_param(layers, keep_bottlenecks))
    params = tuple(shape for layer in layers for shape in layer.params)
    top = Blob(group.name, last.tops[0].shape)
    fields = (*_multipliers(layers), *fields)
    return Layer(group.name, group.kind, bottoms, (top,), fields, params, (kept, 0))


def _inputs(layers: Sequence[Layer]) -> tuple[Blob, ...]:
    """Return the blobs that a group reads before it writes them, in order."""
    inputs, known = [], set()
    for layer in layers:
        inputs += [x for x in layer.bottoms if x.name not in known]
        known.update(x.name for x in (*layer.bottoms, *layer.tops))
    return tuple(inputs)


def _dense_block_param(layers: Sequence[Layer], keep_bottlenecks: bool) -> Field:
    bottleneck, *_, last = (layer.tops[0].channels for layer in layers if layer.type == "Convolution")
    return message(
        "dense_block_param",
        num_units=sum(layer.type == "Convolution" for layer in layers) // 2,
        growth_rate=last,
        bottleneck=bottleneck,
        keep_bottlenecks=True if keep_bottlenecks else None,
        weight_filler=MSRA,
    )


def _multipliers(layers: Sequence[Layer]) -> list[Field]:
    """Return the param messages of a group's blobs, none where all that is learnt has Caffe's defaults."""
    multipliers = [(layer, [field for field in layer.fields if field[0] == "param"]) for layer in layers]
    if not any(fields for layer, fields in multipliers if layer.type != "BatchNorm"):
        return []
    return [field for layer, fields in multipliers for field in fields or [DEFAULT] * len(layer.params)]
