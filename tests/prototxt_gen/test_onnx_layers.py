"""Each layer's ONNX form answers as Caffe's layer does."""

import numpy as np
import pytest

from common.errors import NetError, WeightsError
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.onnx_export import to_onnx
from tests.prototxt_gen.random_net import answer

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytestmark = pytest.mark.caffe
RNG = np.random.default_rng(8)


def prototxt(layers: str, *shape: int, inputs: str = "data") -> str:
    dims = " ".join(f"dim: {n}" for n in shape)
    heads = [
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
        for name in inputs.split()
    ]
    return 'name: "n"\n' + "".join(heads) + layers


def layer(kind: str, fields: str = "", bottoms: str = "data", tops: str = "y", name: str = "it") -> str:
    blobs = "".join(f' bottom: "{b}"' for b in bottoms.split()) + "".join(
        f' top: "{t}"' for t in tops.split()
    )
    return f'layer {{ name: "{name}" type: "{kind}"{blobs} {fields} }}\n'


def export(text: str, weights=None, **options):
    from google.protobuf import text_format

    return to_onnx(text_format.Parse(text, caffe_pb2().NetParameter()), weights or {}, "w", **options)


def both(tmp_path, text: str, x: np.ndarray, weights=None):
    """Return output -> (Caffe's, onnxruntime's) for the input `data`."""
    expected = answer(tmp_path, text, weights or {}, x) if weights else caffes(tmp_path, text, x)
    session = onnxruntime.InferenceSession(export(text, weights).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    feeds = {one.name: x if one.name == "data" else expected[one.name] for one in session.get_inputs()}
    return {name: (expected[name], got) for name, got in zip(names, session.run(names, feeds), strict=True)}


def caffes(tmp_path, text: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return all blobs of a net without weights; inputs beside `data` hold other values."""
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    caffe.set_mode_cpu()
    (tmp_path / "net.prototxt").write_text(text)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    for number, name in enumerate(net.inputs):
        net.blobs[name].data[...] = x if name == "data" else np.roll(x, number + 1, axis=-1) - 0.5 * number
    net.forward()
    return {name: blob.data.copy() for name, blob in net.blobs.items()}


def check(pairs) -> None:
    assert pairs
    for name, (expected, got) in pairs.items():
        assert got.shape == expected.shape, name
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5, err_msg=name)
        assert expected.std() > 0.01


WITHOUT_WEIGHTS = {
    "average of partial windows": (
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 2 stride: 2 }",
        (2, 3, 9, 7),
    ),
    "average, no partial window": (
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 2 stride: 2 }",
        (1, 3, 8, 6),
    ),
    "average of padded partial windows": (
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
        (1, 2, 8, 9),
    ),
    "average, wide windows": (
        "Pooling",
        "pooling_param { pool: AVE kernel_h: 3 kernel_w: 5 stride: 3 }",
        (1, 2, 11, 13),
    ),
    "average, rounded down": (
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 2 stride: 2 round_mode: FLOOR }",
        (1, 2, 9, 9),
    ),
    "maximum as in the stem": (
        "Pooling",
        "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }",
        (2, 3, 17, 17),
    ),
    "maximum of partial windows": (
        "Pooling",
        "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }",
        (1, 3, 8, 10),
    ),
    "maximum without padding": (
        "Pooling",
        "pooling_param { pool: MAX kernel_size: 3 stride: 2 }",
        (1, 3, 8, 10),
    ),
    "interp x2": ("Interp", "interp_param { zoom_factor: 2 }", (2, 3, 5, 9)),
    "interp x8": ("Interp", "interp_param { zoom_factor: 8 }", (1, 2, 33, 5)),
    "interp of one pixel": ("Interp", "interp_param { zoom_factor: 2 }", (1, 6, 1, 3)),
    "interp to half": ("Interp", "interp_param { shrink_factor: 2 }", (1, 2, 9, 8)),
    "interp to 3/2": ("Interp", "interp_param { shrink_factor: 2 zoom_factor: 3 }", (1, 2, 9, 8)),
    "interp to a size": ("Interp", "interp_param { height: 7 width: 20 }", (2, 2, 9, 8)),
    "relu": ("ReLU", "", (2, 3, 4, 5)),
    "leaky relu": ("ReLU", "relu_param { negative_slope: 0.1 }", (2, 3, 4, 5)),
    "softmax": ("Softmax", "", (2, 6, 4, 5)),
    "power": ("Power", "power_param { scale: -0.3 shift: 2 power: 2 }", (1, 3, 4, 5)),
    "power, only scale": ("Power", "power_param { scale: 0.017 }", (1, 3, 40, 50)),
}


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_a_layer_without_weights_answers_as_in_caffe(tmp_path, name):
    kind, fields, shape = WITHOUT_WEIGHTS[name]
    x = (3 * RNG.normal(size=shape)).astype(np.float32)
    check(both(tmp_path, prototxt(layer(kind, fields), *shape), x))


@pytest.mark.parametrize(
    "fields",
    [
        "concat_param { axis: 1 }",
        "concat_param { axis: 0 }",
        "eltwise_param { operation: SUM }",
        "eltwise_param { operation: SUM coeff: 1 coeff: -2 coeff: 0.5 }",
        "eltwise_param { operation: PROD }",
        "eltwise_param { operation: MAX }",
    ],
)
def test_a_layer_of_three_bottoms_answers_as_in_caffe(tmp_path, fields):
    kind = fields.partition("_")[0].capitalize()
    text = prototxt(layer(kind, fields, "data b c"), 2, 3, 4, 5, inputs="data b c")
    check(both(tmp_path, text, RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)))


@pytest.mark.parametrize("axis, points", [(1, (2, 5)), (0, (1, 3)), (2, (1, 2))])
def test_slices_are_caffes(tmp_path, axis, points):
    fields = f"slice_param {{ axis: {axis} {' '.join(f'slice_point: {p}' for p in points)} }}"
    text = prototxt(layer("Slice", fields, tops="a b c"), 4, 6, 4, 5)
    pairs = both(tmp_path, text, RNG.normal(size=(4, 6, 4, 5)).astype(np.float32))
    assert list(pairs) == ["a", "b", "c"]
    check(pairs)


@pytest.mark.parametrize(
    "fields, shapes, shape",
    [
        ("num_output: 4 kernel_size: 3 pad: 1", [(4, 6, 3, 3), (4,)], (2, 6, 9, 8)),
        ("num_output: 4 kernel_size: 7 pad: 3 stride: 2 bias_term: false", [(4, 3, 7, 7)], (1, 3, 33, 32)),
        ("num_output: 4 kernel_h: 1 kernel_w: 3 pad_h: 0 pad_w: 1", [(4, 6, 1, 3), (4,)], (1, 6, 5, 8)),
        (
            "num_output: 4 kernel_size: 3 dilation: 2 group: 2 bias_term: false",
            [(4, 3, 3, 3)],
            (1, 6, 9, 8),
        ),
    ],
)
def test_convolutions_are_caffes(tmp_path, fields, shapes, shape):
    weights = {"it": [RNG.normal(size=size).astype(np.float32) for size in shapes]}
    text = prototxt(layer("Convolution", f"convolution_param {{ {fields} }}"), *shape)
    check(both(tmp_path, text, RNG.normal(size=shape).astype(np.float32), weights))


def statistics(channels: int, count: float) -> list[np.ndarray]:
    """Return a BatchNorm's blobs: sums over so many batches."""
    mean, variance = RNG.normal(size=channels), RNG.uniform(0.1, 4, channels)
    return [(count * mean).astype(np.float32), (count * variance).astype(np.float32), np.float32([count])]


@pytest.mark.parametrize("count", [1.0, 999.5])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("scaled", ["", "scale_param { bias_term: true }", "scale_param { }"])
def test_batchnorm_with_and_without_scale_is_caffes(tmp_path, count, in_place, scaled):
    top = "data" if in_place else "y"
    layers = layer("BatchNorm", "batch_norm_param { eps: 0.01 }", tops=top)
    weights = {"it": statistics(3, count)}
    if scaled:
        layers += layer("Scale", scaled, top, top, name="scale")
        weights["scale"] = [RNG.normal(size=3).astype(np.float32) for _ in range(1 + ("true" in scaled))]
    layers += layer("ReLU", "", top, "end", name="relu")
    x = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    check(both(tmp_path, prototxt(layers, 2, 3, 4, 5), x, weights))


@pytest.mark.parametrize("bias", ["true", "false"])
def test_a_scale_of_its_own_is_caffes(tmp_path, bias):
    text = prototxt(layer("Scale", f"scale_param {{ bias_term: {bias} }}"), 1, 3, 4, 5)
    weights = {"it": [RNG.normal(size=3).astype(np.float32) for _ in range(1 + (bias == "true"))]}
    check(both(tmp_path, text, RNG.normal(size=(1, 3, 4, 5)).astype(np.float32), weights))


@pytest.mark.parametrize(
    "text, words",
    [
        (layer("LRN"), "it: a layer of type LRN has no ONNX form"),
        (layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"), "it: pools at random"),
        (layer("Pooling", "pooling_param { pool: AVE global_pooling: true }"), "it: pools over the whole"),
        (layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 pad: 1 }"), "it: a kernel of 2"),
        (layer("Interp", "interp_param { zoom_factor: 2 pad_beg: -1 }"), "it: crops before"),
        (layer("BatchNorm", "batch_norm_param { use_global_stats: false }"), "own statistics"),
        (layer("Slice", "", tops="a b c"), "3 tops and 0 slice points"),
        (layer("ReLU", bottoms="other"), "no layer makes other"),
    ],
)
def test_what_has_no_onnx_form_is_named(text, words):
    with pytest.raises(NetError, match=words):
        export(prototxt(text, 1, 3, 8, 8))


def test_weights_that_are_missing_or_of_another_shape_are_named():
    text = prototxt(layer("Convolution", "convolution_param { num_output: 4 kernel_size: 3 }"), 1, 3, 8, 8)
    with pytest.raises(WeightsError, match="w: layer it has no weights"):
        export(text)
    wrong = {"it": [np.zeros((4, 5, 3, 3), np.float32), np.zeros(4, np.float32)]}
    with pytest.raises(WeightsError, match="w: layer it has the shapes 4x5x3x3, 4, the net 4x3x3x3, 4"):
        export(text, wrong)
    turned = {"it": [np.zeros((3, 4, 3, 3), np.float32), np.zeros(4, np.float32)]}
    with pytest.raises(WeightsError, match="3x4x3x3"):
        export(text, turned)
