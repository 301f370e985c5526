"""Small nets that together use every layer of ours, and those of Caffe's that our nets are made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A layer with its parameters, and the shapes of its bottoms (N, C, H, W).

    `classes`: the last bottom holds labels 0 ... classes - 1 and 255, and is not differentiated.
    """

    name: str
    type: str
    parameters: str
    shapes: tuple[tuple[int, ...], ...]
    tops: int = 1
    classes: int | None = None

    def prototxt(self) -> str:
        """Return the net."""
        inputs = "".join(
            f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ '
            f"{' '.join(f'dim: {n}' for n in shape)} }} }} }}\n"
            for i, shape in enumerate(self.shapes)
        )
        bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(self.shapes)))
        tops = " ".join(f'top: "y{i}"' for i in range(self.tops))
        down = " propagate_down: true propagate_down: false" if self.classes else ""
        body = f'name: "layer" type: "{self.type}" {bottoms} {tops}{down} {self.parameters}'
        return f"force_backward: true\n{inputs}layer {{ {body} }}\n"


def conv(fields: str) -> str:
    """Return the parameters of a convolution."""
    return f"convolution_param {{ {FILLER} {fields} }}"


IMAGE = ((2, 3, 33, 33),)
MAPS = ((2, 16, 17, 17),)
FILLER = 'weight_filler { type: "gaussian" std: 0.2 }'
CASES = (
    Case("Interp x2", "Interp", "interp_param { zoom_factor: 2 }", MAPS),
    Case("Interp x4 to 257", "Interp", "interp_param { zoom_factor: 4 }", ((1, 6, 65, 65),)),
    Case("Interp to a size", "Interp", "interp_param { height: 13 width: 30 }", MAPS),
    Case("Interp smaller", "Interp", "interp_param { shrink_factor: 2 pad_beg: -1 pad_end: -2 }", MAPS),
    Case(
        "DenseBlock",
        "DenseBlock",
        f"dense_block_param {{ num_units: 3 growth_rate: 8 bottleneck: 16 {FILLER} }}",
        MAPS,
    ),
    Case(
        "DenseBlock, bottlenecks kept",
        "DenseBlock",
        f"dense_block_param {{ num_units: 3 growth_rate: 8 bottleneck: 16 keep_bottlenecks: true {FILLER} }}",
        MAPS,
    ),
    Case("BNReLU", "BNReLU", "", MAPS),
    Case("BNReLUConvolution", "BNReLUConvolution", conv("num_output: 8 kernel_size: 1"), MAPS),
    Case(
        "Convolution 7x7",
        "Convolution",
        conv("num_output: 8 kernel_size: 7 stride: 2 pad: 3 bias_term: false"),
        IMAGE,
    ),
    Case(
        "Convolution 3x3",
        "Convolution",
        conv("num_output: 8 kernel_size: 3 pad: 1"),
        MAPS,
    ),
    Case(
        "Convolution 1x1",
        "Convolution",
        conv("num_output: 8 kernel_size: 1"),
        MAPS,
    ),
    Case("BatchNorm", "BatchNorm", "batch_norm_param { eps: 1e-5 }", MAPS),
    Case("Scale", "Scale", "scale_param { bias_term: true }", MAPS),
    Case("ReLU", "ReLU", "", MAPS),
    Case("Pooling MAX", "Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }", MAPS),
    Case(
        "Pooling AVE, last window partial",
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 2 stride: 2 engine: CAFFE }",
        MAPS,
    ),
    Case("Concat", "Concat", "", (*MAPS, *MAPS)),
    Case("Slice on the batch", "Slice", "slice_param { axis: 0 }", MAPS, tops=2),
    Case("Eltwise SUM", "Eltwise", "", (*MAPS, *MAPS)),
    Case("Power", "Power", "power_param { scale: 0.017 }", IMAGE),
    Case("Softmax", "Softmax", "", MAPS),
    Case(
        "SoftmaxWithLoss",
        "SoftmaxWithLoss",
        "loss_param { ignore_label: 255 }",
        ((2, 6, 33, 33), (2, 1, 33, 33)),
        classes=6,
    ),
)
