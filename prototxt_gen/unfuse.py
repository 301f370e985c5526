"""A NetParameter's fused layers written as the plain ones that they stand for, by the blocks that emit them.

The learnt layers have the names under which `fused_weights.plain_view` gives their weights.
"""

from collections import Counter

from common.errors import NetError
from prototxt_gen import blocks
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.emit import net_message
from prototxt_gen.experiment import DenseNet
from prototxt_gen.layers import Blob, Net

NORM = DenseNet.model_construct()  # its numbers are replaced by those of the fused layer


def unfuse(net):
    """Return a net of plain layers with the same function, for runtimes that have no fused ones.

    A net of plain layers comes back as it is. Raises NetError for a DenseBlock other than the paper's 2-9.
    """
    plain = caffe_pb2().NetParameter()
    plain.CopyFrom(net)
    del plain.layer[:]
    readers = Counter(blob for layer in net.layer for blob in layer.bottom)
    names: dict[str, str] = {}  # of blobs that have another one here
    convolution = None  # the one directly before, if it has no bias: see `fused_weights`
    for layer in net.layer:
        copy = plain.layer.add()
        copy.CopyFrom(layer)
        copy.bottom[:] = [names.get(blob, blob) for blob in layer.bottom]
        copy.top[:] = [names.get(blob, blob) if blob in layer.bottom else blob for blob in layer.top]
        if expansion := _expansion(copy, convolution, readers):
            plain.layer.pop()
            plain.layer.extend(net_message(expansion).layer)
            _restore(plain.layer[-len(expansion.layers) :], layer)
            names[layer.top[0]] = expansion.layers[-1].tops[0].name
        if layer.type == "Convolution":
            convolution = None if layer.convolution_param.bias_term else layer.name
        elif layer.type in ("BatchNorm", "Scale", *blocks.FUSED):
            convolution = None
    return plain


def _expansion(layer, convolution: str | None, readers: Counter[str]) -> Net | None:
    """Return the plain layers of a fused layer as a net, None for a plain layer.

    Sizes and channels do not matter, but where a number of a layer follows from them.
    """
    net = Net(layer.name, "deploy")
    net.section(layer.name)
    bottoms = [Blob(blob, (1, 1, 1, 1)) for blob in layer.bottom]
    in_place = convolution in layer.bottom and readers[convolution] == 1  # as BatchNorm was
    norm = convolution or layer.name
    match layer.type:
        case blocks.DENSE_BLOCK:
            _dense_block(net, layer, bottoms)
        case blocks.BN_RELU:
            blocks.bn_relu(net, norm, f"{norm}/relu", *bottoms, NORM, in_place)
        case blocks.BN_RELU_CONV:
            x = blocks.bn_relu(net, norm, f"{norm}/relu", *bottoms, NORM, in_place)
            net.convolution(layer.name, x, channels=1, kernel=1)
        case "Interp" if len(bottoms) > 1:
            small, large = (
                Blob(blob, (1, 1, size, size))
                for blob, size in zip(layer.bottom, (2, layer.interp_param.zoom_factor + 1), strict=True)
            )
            blocks.integrate(net, layer.name, small, large)
        case _:
            return None
    return net


def _dense_block(net: Net, layer, bottoms: list[Blob]) -> None:
    param = layer.dense_block_param
    if layer.name not in blocks.BLOCKS:
        fact = "is a DenseBlock of another name"
        raise NetError(layer.name, fact, f"call it one of {', '.join(blocks.BLOCKS)}")
    width, rest = divmod(param.bottleneck, max(1, param.growth_rate))
    if rest:
        fact = f"bottleneck {param.bottleneck} is not a multiple of growth_rate {param.growth_rate}"
        raise NetError(layer.name, fact, "emit the net with dfcnet make-net")
    block = blocks.BLOCKS[layer.name]
    arch = DenseNet.model_construct(growth_rate=param.growth_rate, bottleneck=width)
    x = blocks.join(net, block, bottoms) if len(bottoms) > 1 else bottoms[0]
    blocks.dense_block(net, block, x, param.num_units, arch)


def _restore(plain, fused) -> None:
    """Give the plain layers what the fused one says of BatchNorm and of a convolution of its own."""
    for layer in plain:
        if layer.type == "BatchNorm":
            layer.batch_norm_param.CopyFrom(fused.batch_norm_param)
        if layer.type == "Convolution" and fused.HasField("convolution_param"):
            layer.convolution_param.CopyFrom(fused.convolution_param)
        if layer.type == "Interp":
            layer.interp_param.CopyFrom(fused.interp_param)
