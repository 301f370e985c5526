"""Our fused layers (native/overlay) in a net: each stands for several plain ones, see `fused`."""

from collections.abc import Sequence

from common.errors import NetError
from prototxt_gen import shapes
from prototxt_gen.experiment import DenseNet
from prototxt_gen.fused import block_name
from prototxt_gen.layers import MSRA, Blob, Net, batch_norm_param, message, statistics
from prototxt_gen.shapes import Shape


def bn_relu(net: Net, name: str, x: Blob, arch: DenseNet) -> Blob:
    """Add BatchNorm, Scale and ReLU as one layer, `name`/bn."""
    top = Blob(f"{name}/bn", x.shape)
    return net.add("BNReLU", top.name, [x], [top], _batch_norm(arch), params=_activation(x.channels))[0]


def bn_relu_convolution(
    net: Net, name: str, x: Blob, channels: int, arch: DenseNet, bias: bool = False
) -> Blob:
    """Add BatchNorm, Scale, ReLU and a 1x1 convolution as one layer."""
    if channels < 1:
        raise NetError(name, f"would have {channels} channels", "raise compression or the channels")
    param = message(
        "convolution_param",
        num_output=channels,
        kernel_size=1,
        bias_term=None if bias else False,
        weight_filler=MSRA,
    )
    params = [*_activation(x.channels), (channels, x.channels, 1, 1), *([(channels,)] if bias else [])]
    top = Blob(name, (x.shape[0], channels, *x.shape[2:]))
    return net.add("BNReLUConvolution", name, [x], [top], _batch_norm(arch), param, params=params)[0]


def dense_block(net: Net, block: int, bottoms: Sequence[Blob], units: int, arch: DenseNet) -> Blob:
    """Add a DenseBlock on the bottoms, joined on the channels; its top holds them and all new features."""
    name, width = block_name(block), arch.bottleneck * arch.growth_rate
    batch, inputs, *size = shapes.concat(name, [x.shape for x in bottoms], axis=1)
    param = message(
        "dense_block_param",
        num_units=units,
        growth_rate=arch.growth_rate,
        bottleneck=width,
        keep_bottlenecks=True if arch.keep_bottlenecks and net.phase == "train" else None,
        weight_filler=MSRA,
    )
    params: list[Shape] = []
    for unit in range(units):
        channels = inputs + unit * arch.growth_rate
        params += [*_activation(channels), (width, channels, 1, 1)]
        params += [*_activation(width), (arch.growth_rate, width, 3, 3)]
    top = Blob(name, (batch, inputs + units * arch.growth_rate, *size))
    return net.add("DenseBlock", name, bottoms, [top], param, _batch_norm(arch), params=params)[0]


def _batch_norm(arch: DenseNet):
    return batch_norm_param(arch.bn_moving_average, arch.bn_frozen)


def _activation(channels: int) -> list[Shape]:
    return [*statistics(channels), (channels,), (channels,)]
