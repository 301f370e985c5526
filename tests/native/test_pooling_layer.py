"""MAX pooling: largest value, its place, and where the gradient goes, against a search window by window."""

import numpy as np
import pytest

pytestmark = pytest.mark.caffe
NET = """
force_backward: true
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: {shape} }} }} }}
layer {{
  name: "pool" type: "Pooling" bottom: "x" {tops}
  pooling_param {{ pool: MAX kernel_h: {kernel[0]} kernel_w: {kernel[1]}
    stride_h: {stride[0]} stride_w: {stride[1]} pad_h: {pad[0]} pad_w: {pad[1]} }}
}}
"""
ONE, WITH_PLACES = 'top: "y"', 'top: "y" top: "places"'


@pytest.fixture
def caffe():
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    caffe.set_mode_cpu()
    return caffe


def first_largest(x: np.ndarray, kernel, stride, pad, shape) -> np.ndarray:
    """Return for each window the index in its map (H x W) of the first of its largest values, row by row."""
    places = np.empty((*x.shape[:2], *shape), int)
    for n, c, row, column in np.ndindex(places.shape):
        top, left = row * stride[0] - pad[0], column * stride[1] - pad[1]
        rows = range(max(top, 0), min(top + kernel[0], x.shape[2]))
        columns = range(max(left, 0), min(left + kernel[1], x.shape[3]))
        inside = [(i, j) for i in rows for j in columns]
        i, j = max(inside, key=lambda at: x[n, c, *at])  # the first of equal ones
        places[n, c, row, column] = i * x.shape[3] + j
    return places


CASES = [
    ((2, 3, 33, 33), (3, 3), (2, 2), (1, 1)),  # pool1 of DenseNet
    ((1, 2, 40, 71), (3, 3), (2, 2), (1, 1)),
    ((1, 1, 9, 10), (2, 3), (1, 3), (0, 2)),
    ((2, 1, 12, 7), (5, 4), (3, 2), (4, 3)),
    ((1, 3, 8, 8), (2, 2), (2, 2), (0, 0)),
    ((1, 2, 5, 3), (5, 3), (4, 2), (2, 1)),  # as large as the map
    ((1, 1, 1, 1), (3, 3), (2, 2), (1, 1)),
]


@pytest.mark.parametrize("tops", [ONE, WITH_PLACES])
@pytest.mark.parametrize(("shape", "kernel", "stride", "pad"), CASES)
def test_the_first_largest_value_of_a_window_is_taken_and_gets_its_gradient(
    caffe, tmp_path, shape, kernel, stride, pad, tops
):
    dims = " dim: ".join(map(str, shape))
    (tmp_path / "net.prototxt").write_text(
        NET.format(shape=dims, tops=tops, kernel=kernel, stride=stride, pad=pad)
    )
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    rng = np.random.default_rng(sum(shape))
    x = rng.integers(-3, 4, shape).astype(np.float32)  # many equal ones
    net.blobs["x"].data[...] = x
    y = net.forward()["y"]
    places = first_largest(x, kernel, stride, pad, y.shape[2:])
    maps = x.reshape(*shape[:2], -1)
    expected = np.take_along_axis(maps, places.reshape(*shape[:2], -1), 2).reshape(y.shape)
    np.testing.assert_array_equal(y, expected)
    if tops == WITH_PLACES:
        np.testing.assert_array_equal(net.blobs["places"].data, places)

    dy = rng.integers(1, 9, y.shape).astype(np.float32)
    net.blobs["y"].diff[...] = dy
    net.backward()
    dx = np.zeros_like(maps)
    for n, c, *at in np.ndindex(y.shape):
        dx[n, c, places[n, c, *at]] += dy[n, c, *at]
    np.testing.assert_array_equal(net.blobs["x"].diff.reshape(dx.shape), dx)


def test_what_is_not_a_number_is_never_the_largest(caffe, tmp_path):
    net_text = NET.format(shape="1 dim: 1 dim: 2 dim: 4", tops=ONE, kernel=(2, 2), stride=(2, 2), pad=(0, 0))
    (tmp_path / "net.prototxt").write_text(net_text)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    net.blobs["x"].data[...] = [[[[1, np.nan, np.nan, np.nan], [np.nan, 2, -5, np.nan]]]]
    assert net.forward()["y"].ravel().tolist() == [2, -5]
