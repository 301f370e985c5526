"""The paper's building blocks, in the paper's words, as sequences of Caffe layers.

Layer names of the encoder are those of the public DenseNet-121 for Caffe, so that its weights load
by name; the decoder continues its numbering with DenseBlocks 6-9. A net of fused layers is the same net:
one of them stands for a whole DenseBlock, or for BatchNorm, Scale, ReLU and Conv 1x1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from prototxt_gen import fused_layers
from prototxt_gen.experiment import DenseNet
from prototxt_gen.layers import Blob, Net


def bn_relu(net: Net, name: str, relu: str, x: Blob, arch: DenseNet) -> Blob:
    """BatchNorm, Scale and ReLU on features that others read too. Folded: Scale and ReLU."""
    if net.folded:
        x = net.scale(f"{name}/scale", x, top=f"{name}/bn")
    else:
        x = net.batch_norm(f"{name}/bn", x, False, arch.bn_moving_average, arch.bn_frozen)
        x = net.scale(f"{name}/scale", x)
    return net.relu(relu, x)


def bn_relu_conv(net: Net, name: str, relu: str, x: Blob, channels: int, arch: DenseNet) -> Blob:
    """BN-ReLU-Conv 1x1 on features that others read too: (c, 1*1, 0, 1) of Figure 1."""
    if net.fused:
        return fused_layers.bn_relu_convolution(net, name, x, channels, arch)
    return net.convolution(name, bn_relu(net, name, relu, x, arch), channels, kernel=1)


def conv_bn_relu(
    net: Net, conv: str, bn: str, relu: str, x: Blob, channels: int, arch: DenseNet, **kernel: int
) -> Blob:
    """Convolution, then BatchNorm, Scale and ReLU in place. Folded: convolution with a bias, ReLU."""
    x = net.convolution(conv, x, channels, bias=net.folded, **kernel)
    if not net.folded:
        x = net.batch_norm(f"{bn}/bn", x, True, arch.bn_moving_average, arch.bn_frozen)
        x = net.scale(f"{bn}/scale", x)
    return net.relu(relu, x)


def stem(net: Net, x: Blob, arch: DenseNet) -> Blob:
    """7x7 convolution of stride 2: the features at r_1, before pool1."""
    kernel = {"kernel": 7, "pad": 3, "stride": 2}
    if net.fused:
        return fused_layers.bn_relu(
            net, "conv1", net.convolution("conv1", x, arch.stem_channels, **kernel), arch
        )
    return conv_bn_relu(net, "conv1", "conv1", "relu1", x, arch.stem_channels, arch, **kernel)


def join(net: Net, name: str, xs: Sequence[Blob]) -> list[Blob]:
    """Concat of what a DenseBlock reads, as its bottoms: a fused one joins them itself."""
    return list(xs) if net.fused else [net.concat(name, xs)]


def dense_block(net: Net, block: int, bottoms: Sequence[Blob], units: int, arch: DenseNet) -> Blob:
    """DenseBlock of `units` layer units (Figure 2); its output holds its input and all new features.

    Each unit: BN-ReLU-Conv 1x1 (bottleneck), BN-ReLU-Conv 3x3 (growth_rate new channels), Concat.
    """
    if net.fused:
        return fused_layers.dense_block(net, block, bottoms, units, arch)
    (x,) = bottoms
    for unit in range(1, units + 1):
        name = f"conv{block}_{unit}"
        relu = f"relu{block}_{unit}"
        y = bn_relu(net, f"{name}/x1", f"{relu}/x1", x, arch)
        width = arch.bottleneck * arch.growth_rate
        y = conv_bn_relu(net, f"{name}/x1", f"{name}/x2", f"{relu}/x2", y, width, arch, kernel=1)
        y = net.convolution(f"{name}/x2", y, arch.growth_rate, kernel=3, pad=1)
        x = net.concat(f"concat_{block}_{unit}", [x, y])
    return x


def transition(net: Net, block: int, x: Blob, channels: int, arch: DenseNet) -> Blob:
    """BN-ReLU-Conv 1x1 after DenseBlock `block`: what both transitions and the deepest feature share."""
    return bn_relu_conv(net, f"conv{block}_blk", f"relu{block}_blk", x, channels, arch)


def transition_down(net: Net, block: int, x: Blob, arch: DenseNet) -> Blob:
    """Fewer channels, then average pooling: "uses the average-pooling for downsampling" (2.1)."""
    x = transition(net, block, x, int(x.channels * arch.compression), arch)
    return net.pool(f"pool{block}", x, "AVE", kernel=2, stride=2)


def transition_up(net: Net, block: int, x: Blob, skip: Blob, arch: DenseNet) -> list[Blob]:
    """Conv 1x1, "interp layer using the bilinear interpolation for upsampling" (2.1), Concat with skip.

    Returns what the next DenseBlock reads.
    """
    x = transition(net, block, x, arch.up_channels, arch)
    x = net.interp(f"up{block}", x, zoom_factor=2)
    return join(net, f"concat_{block + 1}", [x, skip])


@dataclass
class DenseFusion:
    """Dense Fusion (2.3, Figures 1 and 2): all DenseBlocks' outputs integrated into one map.

    "two neighouring dense blocks integrated together, but there are no overlap between every two
    blocks, and our Dense Fusion recursively integrating all dense blocks to the final level" (2.1):
    (2,3) (4,5) (6,7) (8,9), then the pairs of pairs, until one map is left.

    Blocks are added in their order, each as soon as it is there, and neighbours are summed at once: so a
    net that predicts need not keep the blocks' outputs to its end.
    """

    net: Net
    channels: int
    arch: DenseNet
    _sums: list[tuple[int, int, Blob]] = field(default_factory=list)  # of blocks first to last

    def add(self, block: int, x: Blob) -> None:
        """Take in a block's output."""
        self.net.section(f"Dense fusion (2.3): DenseBlock {block}")
        first, last, y = block, block, _project(self.net, block, x, self.channels, self.arch)
        while self._sums and self._sums[-1][1] - self._sums[-1][0] == last - first:
            first, _, before = self._sums.pop()
            y = _integrate(self.net, f"fusion{first}_{last}", before, y)
        self._sums.append((first, last, y))

    def result(self) -> Blob:
        """Return the one map of all blocks, whose number is a power of two."""
        ((_, _, y),) = self._sums
        return y


def _project(net: Net, block: int, x: Blob, channels: int, arch: DenseNet) -> Blob:
    """Bring a block's output to the fusion's channels: (256, 1*1, 0, 1) of Figure 1."""
    return bn_relu_conv(net, f"fusion{block}", f"fusion{block}/relu", x, channels, arch)


def _integrate(net: Net, name: str, a: Blob, b: Blob) -> Blob:
    """Element-wise sum; "the lower resolution blocks are upsampled before integration" (2.1)."""
    size = max(a.size, b.size)
    if net.fused and a.size != b.size:
        small, large = sorted((a, b), key=lambda x: x.size)
        return net.interp(name, small, zoom_factor=(size - 1) // (small.size - 1), add_to=large)
    a, b = (
        x if x.size == size else net.interp(f"{name}/up", x, zoom_factor=(size - 1) // (x.size - 1))
        for x in (a, b)
    )
    return net.eltwise_sum(name, [a, b])


def classmate_concat(net: Net, images: Sequence[Blob]) -> Blob:
    """Join the tasks: "merged by a concat layer at the first dimensionality" (2.1)."""
    return net.concat("classmate_concat", images, axis=0, top="data")


def classmate_slice(net: Net, x: Blob, tasks: Sequence[str], batches: Sequence[int]) -> tuple[Blob, ...]:
    """Part the tasks again: "sliced in the deepest convolution layer" (3.2)."""
    points = [sum(batches[:i]) for i in range(1, len(batches))]
    return net.slice("classmate_slice", x, [f"{task}_feature" for task in tasks], axis=0, points=points)


def task_head(net: Net, task: str, x: Blob, classes: int, size: int, channels: int, arch: DenseNet) -> Blob:
    """A task's own layers: "we add different convolution layers after the slice layer" (3.2).

    3x3 convolution, BN-ReLU, 1x1 scores, Interp to the crop's `size`: (N, classes, size, size).
    """
    conv, relu, scores = f"{task}/conv", f"{task}/relu", f"{task}/score"
    if net.fused:
        x = net.convolution(conv, x, channels, kernel=3, pad=1)
        x = fused_layers.bn_relu_convolution(net, scores, x, classes, arch, bias=True)
    else:
        x = conv_bn_relu(net, conv, conv, relu, x, channels, arch, kernel=3, pad=1)
        x = net.convolution(scores, x, classes, kernel=1, bias=True)
    return net.interp(f"{task}/up", x, zoom_factor=(size - 1) // (x.size - 1), top=f"{task}_score")
