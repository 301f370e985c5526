"""Caffe's layers as this project uses them: each call adds one layer and returns its top blob(s).

A net is a list of sections, a section a list of layers. Blobs carry their shape (N, C, H, W), so
that a net whose layers do not fit together is refused here, with the layer's name, before Caffe's
CHECKs would end the process. Values are kept as the text that the prototxt will hold.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice

from common.errors import NetError
from common.numbers import INT_MAX
from prototxt_gen import shapes
from prototxt_gen.shapes import Shape, count

PREFETCH = 4  # batches that a Data layer holds ready (DataParameter.prefetch)
Field = tuple[str, object]  # (name, text) or (name, [fields])


@dataclass(frozen=True)
class Blob:
    """A blob by name, with its shape (N, C, H, W)."""

    name: str
    shape: Shape

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[1]

    @property
    def size(self) -> int:
        """Height (nets are emitted for square crops)."""
        return self.shape[2]


@dataclass(frozen=True)
class Group:
    """Layers that make one thing of the paper: a DenseBlock, a task, BN-ReLU-Conv 1x1 ...

    `kind` is one of the constants of `blocks`; a name stands for one group of its kind.
    """

    kind: str
    name: str


@dataclass(frozen=True)
class Layer:
    """One layer of a prototxt; `fields` are the messages below bottom and top.

    `kept` says how many values Caffe keeps for it on the CPU beside its tops: forward, and for the backward
    pass alone.
    """

    name: str
    type: str
    bottoms: tuple[Blob, ...]
    tops: tuple[Blob, ...]
    fields: tuple[Field, ...]
    params: tuple[Shape, ...]  # of the learnt blobs, as Caffe saves them
    kept: tuple[int, int] = (0, 0)
    groups: tuple[Group, ...] = ()  # that it belongs to, outermost first

    def group(self, *kinds: str) -> Group | None:
        """Return the outermost group of one of the kinds, or None where it belongs to none."""
        return next((group for group in self.groups if group.kind in kinds), None)


@dataclass
class Section:
    """Layers that belong together, under a comment of their own; `part` is what the title is about."""

    title: str
    part: str
    layers: list[Layer] = field(default_factory=list)


def literal(value: object) -> str:
    """Return a number or boolean as prototxt text; a str is taken as an enum's name."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def quoted(text: str) -> str:
    """Return a string value as prototxt text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def message(name: str, **values: object) -> Field:
    """Return one message; a list is a repeated field, a list of fields a nested message, None is left out."""
    pairs: list[Field] = []
    for key, value in values.items():
        if isinstance(value, tuple):
            pairs.append(value)
        elif value is not None:
            pairs += [(key, literal(item)) for item in (value if isinstance(value, list) else [value])]
    return name, pairs


FROZEN = message("param", lr_mult=0, decay_mult=0)
MSRA = message("weight_filler", type=quoted("msra"))


class Net:
    """A net under construction for one phase ("train" or "deploy").

    `multipliers` are (pattern, lr_mult, decay_mult): the first whose shell pattern fits a layer's name holds
    for its learnt blobs. BatchNorm's statistics are never learnt nor decayed. `plain` is the net itself, or
    what it was before `fuse` wrote it in fused layers.
    """

    def __init__(self, name: str, phase: str, multipliers: Sequence[tuple[str, float, float]] = ()) -> None:
        self.name, self.phase = name, phase
        self.multipliers = tuple(multipliers)
        self.sections: list[Section] = []
        self.plain = self
        self._names: set[str] = set()
        self._groups: tuple[Group, ...] = ()

    @property
    def layers(self) -> list[Layer]:
        """All layers in order."""
        return [layer for section in self.sections for layer in section.layers]

    def section(self, title: str, part: str | None = None) -> None:
        """Begin a section; the layers that follow stand under its title. `part` is by default the title."""
        self.sections.append(Section(title, part or title))

    @contextmanager
    def group(self, kind: str, name: str) -> Iterator[None]:
        """Let the layers added meanwhile belong to a group; groups may lie in one another."""
        around = self._groups
        self._groups = (*around, Group(kind, name))
        try:
            yield
        finally:
            self._groups = around

    def parameter_shapes(self) -> dict[str, list[Shape]]:
        """Return layer name -> shapes of its learnt blobs, for the layers that have any."""
        return {layer.name: list(layer.params) for layer in self.layers if layer.params}

    def parts(self) -> dict[str, str]:
        """Return layer name -> the part of the net that it belongs to, by its section."""
        return {layer.name: section.part for section in self.sections for layer in section.layers}

    def parameters(self) -> int:
        """Return how many numbers are learnt, BatchNorm's statistics among them."""
        return sum(count(shape) for layer in self.layers for shape in layer.params)

    def add(
        self,
        kind: str,
        name: str,
        bottoms: Sequence[Blob],
        tops: Sequence[Blob],
        *fields: Field,
        params: Sequence[Shape] = (),
        kept: tuple[int, int] = (0, 0),
    ) -> tuple[Blob, ...]:
        """Add a layer and return its tops; NetError if the net has one of this name already."""
        if name in self._names:
            raise NetError(name, "stands twice in the net", "give each layer and each task a name of its own")
        self._names.add(name)
        for shape in (*(blob.shape for blob in tops), *params):
            if not 0 < count(shape) <= INT_MAX:
                size = " x ".join(map(str, shape))
                remedy = "change the crop, images_per_pass or the numbers of channels"
                raise NetError(name, f"has {size} numbers, Caffe counts from 1 to {INT_MAX:,}", remedy)
        if params and kind != "BatchNorm":
            fields = (*self._multiplier(name) * len(params), *fields)
        layer = Layer(name, kind, tuple(bottoms), tuple(tops), fields, tuple(params), kept, self._groups)
        self.sections[-1].layers.append(layer)
        return layer.tops

    def _multiplier(self, name: str) -> list[Field]:
        """Return the param message of a layer's blobs, none where it is Caffe's default."""
        fitting = (
            message("param", lr_mult=lr, decay_mult=decay)
            for pattern, lr, decay in self.multipliers
            if fnmatchcase(name, pattern)
        )
        return list(islice(fitting, 1))

    def input(self, name: str, shape: Shape) -> Blob:
        """Add an Input of a fixed shape; a net's user may reshape it."""
        field_ = message("input_param", shape=message("shape", dim=list(shape)))
        return self.add("Input", name, [], [Blob(name, shape)], field_)[0]

    def data(self, name: str, source: str, shape: Shape, mean: Sequence[float], mirror: bool) -> Blob:
        """Add a Data layer on an LMDB: random crop and mirror of all channels together, mean subtracted."""
        batch, _, crop, _ = shape
        return self.add(
            "Data",
            name,
            [],
            [Blob(name, shape)],
            message("transform_param", crop_size=crop, mirror=mirror, mean_value=[float(m) for m in mean]),
            message("data_param", source=quoted(source), batch_size=batch, backend="LMDB"),
            kept=(PREFETCH * count(shape), 0),  # batches read ahead
        )[0]

    def convolution(
        self,
        name: str,
        x: Blob,
        channels: int,
        kernel: int,
        pad: int = 0,
        stride: int = 1,
        bias: bool = False,
    ) -> Blob:
        """Add a square convolution, weights drawn as He et al. (2015)."""
        if channels < 1:
            raise NetError(name, f"would have {channels} channels", "raise compression or the channels")
        size = shapes.convolution(x.size, kernel, pad, stride)
        param = message(
            "convolution_param",
            num_output=channels,
            kernel_size=kernel,
            pad=pad or None,
            stride=stride if stride > 1 else None,
            bias_term=None if bias else False,
            weight_filler=MSRA,
        )
        top = Blob(name, (x.shape[0], channels, size, size))
        params = [(channels, x.channels, kernel, kernel), *([(channels,)] if bias else [])]
        return self.add("Convolution", name, [x], [top], param, params=params)[0]

    def batch_norm(
        self, name: str, x: Blob, in_place: bool, moving_average: float | None = None, frozen: bool = False
    ) -> Blob:
        """Add a BatchNorm without scale and bias; `frozen`: by the stored statistics in training too."""
        top = x if in_place else Blob(name, x.shape)
        param = message(
            "batch_norm_param",
            use_global_stats=True if frozen else None,
            moving_average_fraction=moving_average,
            eps=1e-5,
        )
        params = [(x.channels,), (x.channels,), (1,)]  # mean, variance, and the weight of both
        # temp_ and x_norm_; in place, also the gradient of x_norm_
        kept = 2 * count(x.shape), count(x.shape) if in_place else 0
        fields = FROZEN, FROZEN, FROZEN, param
        return self.add("BatchNorm", name, [x], [top], *fields, params=params, kept=kept)[0]

    def scale(self, name: str, x: Blob) -> Blob:
        """Add a learnt scale and bias per channel, in place."""
        params = [(x.channels,), (x.channels,)]
        param, kept = message("scale_param", bias_term=True), (count(x.shape), 0)  # temp_: the input
        return self.add("Scale", name, [x], [x], param, params=params, kept=kept)[0]

    def relu(self, name: str, x: Blob) -> Blob:
        """Add a ReLU, in place."""
        return self.add("ReLU", name, [x], [x])[0]

    def power(self, name: str, x: Blob, scale: float) -> Blob:
        """Multiply by a constant, in place."""
        return self.add("Power", name, [x], [x], message("power_param", scale=scale))[0]

    def pool(self, name: str, x: Blob, method: str, kernel: int, stride: int, pad: int = 0) -> Blob:
        """Add a pooling ("MAX" or "AVE"); partial windows at the border count, as in Caffe."""
        size = shapes.pooling(x.size, kernel, pad, stride)
        # cuDNN averages a partial last window differently: AVE stays with Caffe's own engine.
        engine = "CAFFE" if method == "AVE" else None
        param = message(
            "pooling_param", pool=method, kernel_size=kernel, stride=stride, pad=pad or None, engine=engine
        )
        top = Blob(name, (*x.shape[:2], size, size))
        kept = count(top.shape) if method == "MAX" else 0  # max_idx_
        return self.add("Pooling", name, [x], [top], param, kept=(kept, 0))[0]

    def interp(self, name: str, x: Blob, zoom_factor: int, top: str | None = None) -> Blob:
        """Enlarge by bilinear interpolation with aligned corners: n -> z (n - 1) + 1."""
        size = shapes.interp(x.size, zoom_factor)
        param = message("interp_param", zoom_factor=zoom_factor)
        return self.add("Interp", name, [x], [Blob(top or name, (*x.shape[:2], size, size))], param)[0]

    def concat(self, name: str, xs: Sequence[Blob], axis: int = 1, top: str | None = None) -> Blob:
        """Join blobs along an axis (Caffe's default: the channels)."""
        shape = shapes.concat(name, [x.shape for x in xs], axis)
        fields = [] if axis == 1 else [message("concat_param", axis=axis)]
        return self.add("Concat", name, xs, [Blob(top or name, shape)], *fields)[0]

    def slice(
        self, name: str, x: Blob, tops: Sequence[str], axis: int, points: list[int]
    ) -> tuple[Blob, ...]:
        """Part a blob along an axis at the given points."""
        parts = shapes.slices(name, x.shape, axis, points)
        blobs = [Blob(top, part) for top, part in zip(tops, parts, strict=True)]
        return self.add("Slice", name, [x], blobs, message("slice_param", axis=axis, slice_point=points))

    def eltwise_sum(self, name: str, xs: Sequence[Blob]) -> Blob:
        """Add blobs of one shape."""
        shape = shapes.same(name, [x.shape for x in xs])
        return self.add("Eltwise", name, xs, [Blob(name, shape)], message("eltwise_param", operation="SUM"))[
            0
        ]

    def softmax(self, name: str, x: Blob) -> Blob:
        """Add class probabilities over the channels."""
        return self.add("Softmax", name, [x], [Blob(name, x.shape)])[0]

    def loss(
        self,
        name: str,
        x: Blob,
        label: Blob,
        top: str,
        weight: float,
        ignore_label: int,
        class_weights: str | None = None,
    ) -> Blob:
        """Add the mean cross entropy over the pixels whose label is not `ignore_label`.

        `class_weights` is a file with a diagonal infogain matrix: each pixel's term is multiplied by
        the weight of its class, and the mean stays one over the pixels.
        """
        if (x.shape[0], *x.shape[2:]) != (label.shape[0], *label.shape[2:]):
            raise NetError(
                name, f"scores {x.shape} do not cover the label {label.shape}", "correct the upsampling"
            )
        fields = [
            ("loss_weight", literal(weight)),
            message("loss_param", ignore_label=ignore_label, normalization="VALID"),
        ]
        kind = "SoftmaxWithLoss"
        if class_weights:
            kind = "InfogainLoss"
            fields.append(message("infogain_loss_param", source=quoted(class_weights)))
        return self.add(kind, name, [x, label], [Blob(top, ())], *fields, kept=(count(x.shape), 0))[
            0
        ]  # prob_
