"""Our Interp layer: Caffe's own gradient checker in C++, brute force from Python."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.installed_caffe import caffe_prefix, has_onednn

pytestmark = pytest.mark.caffe
ROOT = Path(__file__).parents[2]


def weights_of_an_axis(size: int, out: int) -> np.ndarray:
    """Return the (out, size) matrix of linear interpolation with aligned corners, one entry at a time."""
    matrix = np.zeros((out, size))
    for o in range(out):
        source = o * (size - 1) / (out - 1) if out > 1 else 0.0
        for i in range(size):
            matrix[o, i] = max(0.0, 1 - abs(source - i))
    return matrix


def brute_force(x: np.ndarray, height: int, width: int, beg: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the output, and the input's gradient for the loss sum(output**2) / 2."""
    rows, columns = x.shape[2] + end, x.shape[3] + end
    inner = x[:, :, -beg:rows, -beg:columns]
    down = weights_of_an_axis(inner.shape[2], height)
    across = weights_of_an_axis(inner.shape[3], width)
    y = np.einsum("oi,ncij,pj->ncop", down, inner, across)
    gradient = np.zeros_like(x)
    gradient[:, :, -beg:rows, -beg:columns] = np.einsum("oi,ncop,pj->ncij", down, y, across)
    return y, gradient


def make_net(tmp_path: Path, shape: tuple, param: str):
    from training.pycaffe import import_caffe

    dims = " ".join(f"dim: {n}" for n in shape)
    path = tmp_path / "net.prototxt"
    path.write_text(
        "force_backward: true "
        f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }} '
        f'layer {{ name: "enlarge" type: "Interp" bottom: "x" top: "y" interp_param {{ {param} }} }}'
    )
    caffe = import_caffe()
    caffe.set_mode_cpu()
    return caffe.Net(str(path), caffe.TRAIN)


@pytest.mark.parametrize(
    ("shape", "param", "height", "width", "beg", "end"),
    [
        ((1, 1, 1, 1), "height: 1 width: 1", 1, 1, 0, 0),
        ((2, 3, 1, 1), "height: 4 width: 5", 4, 5, 0, 0),
        ((2, 3, 2, 2), "zoom_factor: 2", 3, 3, 0, 0),
        ((3, 2, 2, 65), "zoom_factor: 4", 5, 257, 0, 0),
        ((2, 2, 33, 33), "zoom_factor: 2", 65, 65, 0, 0),
        ((1, 2, 65, 33), "zoom_factor: 2", 129, 65, 0, 0),
        ((2, 1, 65, 65), "shrink_factor: 2", 33, 33, 0, 0),
        ((1, 2, 10, 7), "shrink_factor: 4", 3, 2, 0, 0),
        ((1, 2, 10, 7), "shrink_factor: 4 zoom_factor: 3", 7, 4, 0, 0),
        ((2, 2, 5, 9), "height: 13 width: 4", 13, 4, 0, 0),
        ((2, 2, 5, 9), "height: 1 width: 2", 1, 2, 0, 0),
        ((1, 2, 9, 9), "height: 3 width: 3 zoom_factor: 2", 17, 17, 0, 0),
        ((1, 2, 9, 9), "height: 3 width: 3 shrink_factor: 8", 2, 2, 0, 0),
        ((2, 2, 8, 11), "zoom_factor: 2 pad_beg: -1 pad_end: -2", 9, 15, -1, -2),
        ((2, 2, 6, 6), "height: 9 width: 4 pad_beg: -5", 9, 4, -5, 0),
    ],
)
def test_values_sizes_and_gradients_are_those_of_brute_force(tmp_path, shape, param, height, width, beg, end):
    net = make_net(tmp_path, shape, param)
    x = np.random.default_rng(5).normal(size=shape)
    net.blobs["x"].data[...] = x
    net.forward()
    expected, gradient = brute_force(x, height, width, beg, end)
    assert net.blobs["y"].data.shape == (*shape[:2], height, width)
    np.testing.assert_allclose(net.blobs["y"].data, expected, rtol=1e-5, atol=1e-6)
    net.blobs["x"].diff[...] = np.nan  # what was there before must not count
    net.blobs["y"].diff[...] = net.blobs["y"].data
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(33, 33), (5, 9), (2, 17), (1, 2), (1, 1)])
def test_enlarging_by_4_is_enlarging_by_2_twice(tmp_path, height, width):
    """On which the order of dense fusion's sums in fused layers rests; also for the gradients."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 3, height, width))

    def enlarged(values: np.ndarray, zoom: int):
        net = make_net(tmp_path, values.shape, f"zoom_factor: {zoom}")
        net.blobs["x"].data[...] = values
        net.forward()
        return net

    def gradient(net, change: np.ndarray) -> np.ndarray:
        net.blobs["y"].diff[...] = change
        net.backward()
        return net.blobs["x"].diff

    at_once, first = enlarged(x, 4), enlarged(x, 2)
    second = enlarged(first.blobs["y"].data, 2)
    assert at_once.blobs["y"].data.shape == second.blobs["y"].data.shape
    np.testing.assert_allclose(second.blobs["y"].data, at_once.blobs["y"].data, atol=1e-6)
    change = rng.normal(size=at_once.blobs["y"].data.shape)
    np.testing.assert_allclose(
        gradient(first, gradient(second, change)), gradient(at_once, change), atol=1e-5
    )


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("zoom", [1, 2, 3, 4, 16])
def test_a_second_input_is_added_and_gets_the_whole_gradient(tmp_path, zoom, in_place):
    from training.pycaffe import import_caffe

    shape, large = (2, 3, 4, 5), (2, 3, 3 * zoom + 1, 4 * zoom + 1)
    inputs = " ".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}_in" input_param {{ shape {{ '
        f"{' '.join(f'dim: {n}' for n in dims)} }} }} }} "
        # A layer between, so that the output may take the place of a blob that is not an input of the net.
        f'layer {{ name: "{name}_twice" type: "Power" bottom: "{name}_in" top: "{name}" '
        f"power_param {{ scale: 2 }} }}"
        for name, dims in (("x", shape), ("y", large))
    )
    top = "y" if in_place else "sum"
    (tmp_path / "net.prototxt").write_text(
        f'force_backward: true {inputs} layer {{ name: "add" type: "Interp" bottom: "x" bottom: "y" '
        f'top: "{top}" interp_param {{ zoom_factor: {zoom} }} }}'
    )
    caffe = import_caffe()
    caffe.set_mode_cpu()
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    rng = np.random.default_rng(2)
    x, y, gradient = (rng.normal(size=dims) for dims in (shape, large, large))
    net.blobs["x_in"].data[...], net.blobs["y_in"].data[...] = x, y
    net.forward()
    enlarged, _ = brute_force(2 * x, *large[2:], 0, 0)
    np.testing.assert_allclose(net.blobs[top].data, enlarged + 2 * y, rtol=1e-5, atol=1e-5)
    net.blobs[top].diff[...] = gradient
    net.backward()
    down, across = (weights_of_an_axis(shape[axis], large[axis]) for axis in (2, 3))
    expected = 2 * np.einsum("oi,ncop,pj->ncij", down, gradient, across)
    np.testing.assert_allclose(net.blobs["x_in"].diff, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.blobs["y_in"].diff, 2 * gradient, rtol=1e-6)


def test_a_second_input_of_another_size_ends_in_a_message_with_both(tmp_path):
    code = """
import sys
from training.pycaffe import import_caffe
caffe = import_caffe()
caffe.Net(sys.argv[1], caffe.TEST)
"""
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" top: "y" input_param { '
        "shape { dim: 1 dim: 2 dim: 3 dim: 3 } shape { dim: 1 dim: 2 dim: 5 dim: 6 } } } "
        'layer { name: "add" type: "Interp" bottom: "x" bottom: "y" top: "y" '
        "interp_param { zoom_factor: 2 } }"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "net.prototxt")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode != 0
    assert (
        "Interp layer 'add': the second input is 1 2 5 6 (60), the enlarged first one 1 2 5 5" in done.stderr
    )


def test_a_zoom_is_exact_where_infinite_values_are_near(tmp_path):
    """An infinite pixel reaches its neighbours, and no pixel further."""
    net = make_net(tmp_path, (1, 1, 4, 4), "zoom_factor: 2")
    net.blobs["x"].data[...] = 1
    net.blobs["x"].data[0, 0, 0, 0] = np.inf
    net.forward()
    infinite = np.zeros((7, 7), bool)
    infinite[:2, :2] = True
    np.testing.assert_array_equal(np.isinf(net.blobs["y"].data[0, 0]), infinite)
    assert (net.blobs["y"].data[0, 0][~infinite] == 1).all()


def test_a_reshaped_net_interpolates_at_the_new_size(tmp_path):
    net = make_net(tmp_path, (1, 1, 5, 5), "zoom_factor: 2")
    for shape in ((2, 3, 33, 17), (1, 1, 5, 7), (1, 1, 7, 5)):
        x = np.random.default_rng(1).normal(size=shape)
        net.blobs["x"].reshape(*shape)
        net.blobs["x"].data[...] = x
        net.forward()
        expected, _ = brute_force(x, 2 * shape[2] - 1, 2 * shape[3] - 1, 0, 0)
        np.testing.assert_allclose(net.blobs["y"].data, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("param", "words"),
    [
        ("", "give zoom_factor, shrink_factor, or height and width"),
        ("height: 4", "give zoom_factor, shrink_factor, or height and width"),
        ("zoom_factor: 0", "zoom_factor is 0, must be >= 1"),
        ("shrink_factor: -2", "shrink_factor is -2, must be >= 1"),
        ("height: 0 width: 3", "height is 0, must be >= 1"),
        ("zoom_factor: 2 pad_beg: 1", "pad_beg crops and must be <= 0"),
        ("zoom_factor: 2 pad_end: 3", "pad_end crops and must be <= 0"),
        ("zoom_factor: 2 pad_beg: -3 pad_end: -2", "the pads leave nothing of the input of 5 x 5"),
    ],
)
def test_a_bad_parameter_ends_in_a_message_with_the_layers_name(tmp_path, param, words):
    code = (
        "import sys; from pathlib import Path; from tests.native.test_interp_layer import make_net; "
        f"make_net(Path(sys.argv[1]), (1, 1, 5, 5), {param!r})"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode != 0
    assert f"Interp layer 'enlarge': {words}" in done.stderr


@pytest.mark.timeout(1200)  # a busy machine takes long
def test_caffes_own_tests_of_our_layers_pass():
    sources = [path.read_text() for path in (ROOT / "native" / "overlay").rglob("test_*.cpp")]
    if not has_onednn():
        sources = [source for source in sources if not source.startswith("#ifdef USE_DNNL")]
    written = {
        test
        for text in sources
        for test in re.findall(r"(?m)^(?:TYPED_)?TEST(?:_[FP])?\((\w+), (\w+)\)", text)
    }
    ours = ":".join(sorted({f"*{case}*" for case, _ in written}))  # a build for GPUs has tests of Caffe's too
    done = subprocess.run(
        [caffe_prefix() / "bin" / "test_layers", f"--gtest_filter={ours}-*/2.*:*/3.*:*GPU*"],  # on the CPU
        capture_output=True,
        text=True,
        env={**os.environ, "GLOG_minloglevel": "2", "OMP_WAIT_POLICY": "passive"},  # many small loops
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    ran = set(re.findall(r"\[       OK \] (?:[A-Z]+/)?(\w+)(?:/\d+)?\.(\w+) ", done.stdout))
    assert ran == written
    assert "GradientWithCroppedBorders" in done.stdout
