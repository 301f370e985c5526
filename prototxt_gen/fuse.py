"""A built net rewritten in our fused layers (native/overlay), each of which stands for a group of plain ones.

Parameters, their order and the function stay; what changes are the names of some blobs.
"""

from collections.abc import Sequence

from common.errors import NetError
from prototxt_gen.blocks import BN_RELU_CONV, DENSE_BLOCK, FUSED, INTEGRATION
from prototxt_gen.layers import MSRA, Blob, Field, Group, Layer, Net, message

KINDS = (*FUSED, INTEGRATION)
SUM = message("eltwise_param", operation="SUM")[1]
DEFAULT = message("param", lr_mult=1, decay_mult=1)


def fuse(net: Net, keep_bottlenecks: bool = False) -> Net:
    """Return a plain net in fused layers, each in the place of the last layer of its group.

    With `keep_bottlenecks` DenseBlocks keep them for the backward pass. A sum is computed in place of its
    larger addend, which no layer but the sum may read; addends of one size stay with Eltwise. Raises NetError
    for an integration that is not a sum.
    """
    members: dict[Group | None, list[Layer]] = {}
    for layer in net.layers:
        members.setdefault(layer.group(*KINDS), []).append(layer)
    fused, names = Net(net.name, net.phase), {}  # the blobs that have another name here
    fused.plain = net
    for section in net.sections:
        fused.section(section.title, section.part)
        for layer in section.layers:
            group = layer.group(*KINDS)
            if group and layer is not members[group][-1]:
                continue
            new = _fused(group, members[group], keep_bottlenecks) if group else layer
            bottoms, tops = ([names.get(x.name, x) for x in blobs] for blobs in (new.bottoms, new.tops))
            fused.add(new.type, new.name, bottoms, tops, *new.fields, params=new.params)
            if group:
                (names[layer.tops[0].name],) = tops
    return fused


def _fused(group: Group, layers: Sequence[Layer], keep_bottlenecks: bool) -> Layer:
    """Return the layer that stands for a group, its bottoms named as in the plain net."""
    bottoms, last = _inputs(layers), layers[-1]
    if group.kind == INTEGRATION:
        if dict(last.fields)["eltwise_param"] != SUM:
            raise NetError(
                group.name, "is not a sum", "keep what has no fused layer out of this kind of group"
            )
        small, large = sorted(bottoms, key=lambda x: x.size)
        if small.size == large.size:
            return last
        zoom = next(layer for layer in layers if layer.type == "Interp")
        return Layer(group.name, zoom.type, (small, large), (large,), zoom.fields, ())
    norm = next(layer for layer in layers if layer.type == "BatchNorm").fields[-1]
    fields = [norm, last.fields[-1]] if group.kind == BN_RELU_CONV else [norm]
    if group.kind == DENSE_BLOCK:
        fields.insert(0, _dense_block_param(layers, keep_bottlenecks))
    params = tuple(shape for layer in layers for shape in layer.params)
    top = Blob(group.name, last.tops[0].shape)
    return Layer(group.name, group.kind, bottoms, (top,), (*_multipliers(layers), *fields), params)


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
