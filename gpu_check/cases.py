"""Small nets that together use every layer of ours, and those of Caffe's that our nets are made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCase:
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
    LayerCase("Interp x2", "Interp", "interp_param { zoom_factor: 2 }", MAPS),
    LayerCase("Interp x4 to 257", "Interp", "interp_param { zoom_factor: 4 }", ((1, 6, 65, 65),)),
    LayerCase("Interp to a size", "Interp", "interp_param { height: 13 width: 30 }", MAPS),
    LayerCase("Interp smaller", "Interp", "interp_param { shrink_factor: 2 pad_beg: -1 pad_end: -2 }", MAPS),
    LayerCase(
        "DenseBlock",
        "DenseBlock",
        f"dense_block_param {{ num_units: 3 growth_rate: 8 bottleneck: 16 {FILLER} }}",
        MAPS,
    ),
    LayerCase(
        "DenseBlock, bottlenecks kept",
        "DenseBlock",
        f"dense_block_param {{ num_units: 3 growth_rate: 8 bottleneck: 16 keep_bottlenecks: true {FILLER} }}",
        MAPS,
    ),
    LayerCase("BNReLU", "BNReLU", "", MAPS),
    LayerCase("BNReLUConvolution", "BNReLUConvolution", conv("num_output: 8 kernel_size: 1"), MAPS),
    LayerCase(
        "Convolution 7x7",
        "Convolution",
        conv("num_output: 8 kernel_size: 7 stride: 2 pad: 3 bias_term: false"),
        IMAGE,
    ),
    LayerCase("Convolution 3x3", "Convolution", conv("num_output: 8 kernel_size: 3 pad: 1"), MAPS),
    LayerCase("Convolution 1x1", "Convolution", conv("num_output: 8 kernel_size: 1"), MAPS),
    LayerCase("BatchNorm", "BatchNorm", "batch_norm_param { eps: 1e-5 }", MAPS),
    LayerCase("Scale", "Scale", "scale_param { bias_term: true }", MAPS),
    LayerCase("ReLU", "ReLU", "", MAPS),
    LayerCase("Pooling MAX", "Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }", MAPS),
    LayerCase(
        "Pooling AVE, last window partial",
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 2 stride: 2 engine: CAFFE }",
        MAPS,
    ),
    LayerCase("Concat", "Concat", "", (*MAPS, *MAPS)),
    LayerCase("Slice on the batch", "Slice", "slice_param { axis: 0 }", MAPS, tops=2),
    LayerCase("Eltwise SUM", "Eltwise", "", (*MAPS, *MAPS)),
    LayerCase("Power", "Power", "power_param { scale: 0.017 }", IMAGE),
    LayerCase("Softmax", "Softmax", "", MAPS),
    LayerCase(
        "SoftmaxWithLoss",
        "SoftmaxWithLoss",
        "loss_param { ignore_label: 255 }",
        ((2, 6, 33, 33), (2, 1, 33, 33)),
        classes=6,
    ),
)
