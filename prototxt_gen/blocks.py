"""The paper's building blocks, in the paper's words, as sequences of Caffe's own layers.

Layer names of the encoder are those of the public DenseNet-121 for Caffe, so that its weights load
by name; the decoder continues its numbering with DenseBlocks 6-9. Each block says which of its layers
belong together (`Net.group`): the group's name is that of the one layer that `fuse` may put in their place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from prototxt_gen.experiment import DenseNet, Fusion
from prototxt_gen.layers import Blob, Net

# Kinds of groups; the first three are called as the type of our layer that stands for such a group.
DENSE_BLOCK, BN_RELU_CONV, BN_RELU = "DenseBlock", "BNReLUConvolution", "BNReLU"
FUSED = (DENSE_BLOCK, BN_RELU_CONV, BN_RELU)
INTEGRATION, TASK = "integration", "task"


def bn_relu(net: Net, name: str, relu: str, x: Blob, arch: DenseNet, in_place: bool = False) -> Blob:
    """BatchNorm, Scale and ReLU; not in place on features that others read too."""
    x = net.batch_norm(f"{name}/bn", x, in_place, arch.bn_moving_average, arch.bn_frozen)
    return net.relu(relu, net.scale(f"{name}/scale", x))


def bn_relu_conv(net: Net, name: str, relu: str, x: Blob, channels: int, arch: DenseNet) -> Blob:
    """BN-ReLU-Conv 1x1 on features that others read too: (c, 1*1, 0, 1) of Figure 1."""
    with net.group(BN_RELU_CONV, name):
        return net.convolution(name, bn_relu(net, name, relu, x, arch), channels, kernel=1)


def stem(net: Net, x: Blob, arch: DenseNet) -> Blob:
    """7x7 convolution of stride 2: the features at r_1, before pool1."""
    x = net.convolution("conv1", x, arch.stem_channels, kernel=7, pad=3, stride=2)
    with net.group(BN_RELU, "conv1/bn"):
        return bn_relu(net, "conv1", "relu1", x, arch, in_place=True)


def block_name(block: int) -> str:
    """Return the name of DenseBlock `block` as one layer."""
    return f"dense_block{block}"


BLOCKS = {block_name(block): block for block in range(2, 10)}  # the paper's, by name


def join(net: Net, block: int, xs: Sequence[Blob]) -> Blob:
    """Concat of what DenseBlock `block` reads."""
    with net.group(DENSE_BLOCK, block_name(block)):
        return net.concat(f"concat_{block}", xs)


def dense_block(net: Net, block: int, x: Blob, units: int, arch: DenseNet) -> Blob:
    """DenseBlock of `units` layer units (Figure 2); its output holds its input and all new features.

    Each unit: BN-ReLU-Conv 1x1 (bottleneck), BN-ReLU-Conv 3x3 (growth_rate new channels), Concat.
    """
    with net.group(DENSE_BLOCK, block_name(block)):
        for unit in range(1, units + 1):
            name, relu = f"conv{block}_{unit}", f"relu{block}_{unit}"
            y = bn_relu(net, f"{name}/x1", f"{relu}/x1", x, arch)
            y = net.convolution(f"{name}/x1", y, arch.bottleneck * arch.growth_rate, kernel=1)
            y = bn_relu(net, f"{name}/x2", f"{relu}/x2", y, arch, in_place=True)
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


def transition_up(net: Net, block: int, x: Blob, skip: Blob, arch: DenseNet) -> Blob:
    """Conv 1x1, "interp layer using the bilinear interpolation for upsampling" (2.1), Concat with skip."""
    x = transition(net, block, x, arch.up_channels, arch)
    x = net.interp(f"up{block}", x, zoom_factor=2)
    return join(net, block + 1, [x, skip])


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
    fusion: Fusion
    arch: DenseNet
    _sums: list[tuple[int, int, Blob]] = field(default_factory=list)  # of blocks first to last

    def add(self, block: int, x: Blob) -> None:
        """Take in a block's output."""
        self.net.section(f"Dense fusion (2.3): DenseBlock {block}")
        first, last, y = block, block, _project(self.net, block, x, self.fusion.channels, self.arch)
        while self._sums and self._sums[-1][1] - self._sums[-1][0] == last - first:
            first, _, before = self._sums.pop()
            y = integrate(self.net, f"fusion{first}_{last}", before, y)
        self._sums.append((first, last, y))

    def result(self) -> Blob:
        """Return the one map of all blocks, whose number is a power of two."""
        ((_, _, y),) = self._sums
        return y


def _project(net: Net, block: int, x: Blob, channels: int, arch: DenseNet) -> Blob:
    """Bring a block's output to the fusion's channels: (256, 1*1, 0, 1) of Figure 1."""
    return bn_relu_conv(net, f"fusion{block}", f"fusion{block}/relu", x, channels, arch)


def integrate(net: Net, name: str, a: Blob, b: Blob) -> Blob:
    """Element-wise sum; "the lower resolution blocks are upsampled before integration" (2.1)."""
    size = max(a.size, b.size)
    with net.group(INTEGRATION, name):
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


HEAD_CONVOLUTIONS = 2  # of a task's own: 3x3, and the score's 1x1


def task_head(net: Net, task: str, x: Blob, classes: int, size: int, channels: int, arch: DenseNet) -> Blob:
    """A task's own layers: "we add different convolution layers after the slice layer" (3.2).

    3x3 convolution, BN-ReLU, 1x1 scores, Interp to the crop's `size`: (N, classes, size, size).
    """
    scores = f"{task}/score"
    x = net.convolution(f"{task}/conv", x, channels, kernel=3, pad=1)
    with net.group(BN_RELU_CONV, scores):
        x = bn_relu(net, f"{task}/conv", f"{task}/relu", x, arch, in_place=True)
        x = net.convolution(scores, x, classes, kernel=1, bias=True)
    return net.interp(f"{task}/up", x, zoom_factor=(size - 1) // (x.size - 1), top=f"{task}_score")
