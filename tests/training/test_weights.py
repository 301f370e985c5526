"""Weights that do not fit are told apart before Caffe, which would end the process, sees them."""

from math import prod

import pytest

from common.errors import WeightsError
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.caffemodel import read_caffemodel
from training.weights import Coverage, match_weights

pytestmark = pytest.mark.caffe
NET = {"conv1": [(4, 3, 7, 7)], "conv1/bn": [(4,), (4,), (1,)], "land/score": [(6, 4, 1, 1), (6,)]}


def write(path, shapes):
    net = caffe_pb2().NetParameter()
    for name, blobs in shapes.items():
        layer = net.layer.add(name=name)
        for shape in blobs:
            layer.blobs.add(data=[0.5] * prod(shape)).shape.dim.extend(shape)
    path.write_bytes(net.SerializeToString())
    return path


def test_equal_layers_match(tmp_path):
    found = match_weights(NET, write(tmp_path / "w.caffemodel", NET), Coverage.FULL)
    assert (found.loaded, found.left, found.unused) == (list(NET), [], [])


def test_a_part_of_a_net_is_loaded_only_where_that_is_meant(tmp_path):
    path = write(tmp_path / "w.caffemodel", {"conv1": NET["conv1"], "fc6": [(1000, 1024)]})
    found = match_weights(NET, path, Coverage.PARTIAL)
    assert (found.loaded, found.left, found.unused) == (["conv1"], ["conv1/bn", "land/score"], ["fc6"])
    with pytest.raises(WeightsError, match=r"has no layer conv1/bn \(2 of the net's 3 layers are missing\)"):
        match_weights(NET, path, Coverage.FULL)


@pytest.mark.parametrize("coverage", [Coverage.FULL, Coverage.PARTIAL])
def test_another_shape_is_an_error_that_names_layer_and_both_shapes(tmp_path, coverage):
    path = write(tmp_path / "w.caffemodel", NET | {"land/score": [(7, 4, 1, 1), (7,)]})
    with pytest.raises(WeightsError, match="layer land/score has the shapes 7x4x1x1, 7, the net 6x4x1x1, 6"):
        match_weights(NET, path, coverage)


def test_weights_that_share_no_layer_are_an_error_even_as_a_part(tmp_path):
    with pytest.raises(WeightsError, match="has no layer conv1"):
        match_weights(NET, write(tmp_path / "w.caffemodel", {"ip1": [(10, 10)]}), Coverage.PARTIAL)


def test_shapes_of_early_files_with_four_fixed_axes_are_read(tmp_path):
    net = caffe_pb2().NetParameter()
    net.layer.add(name="conv1").blobs.add(num=4, channels=3, height=7, width=7, data=[0.5] * 588)
    (tmp_path / "old.caffemodel").write_bytes(net.SerializeToString())
    assert read_caffemodel(tmp_path / "old.caffemodel")["conv1"][0].shape == (4, 3, 7, 7)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"PK\x03\x04 a zip file", "is not a .caffemodel"),
        (b"", "holds no parameters"),
    ],
)
def test_a_file_that_holds_no_weights_is_an_error_with_its_name(tmp_path, content, words):
    path = tmp_path / "w.caffemodel"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"w.caffemodel: {words}"):
        read_caffemodel(path)


def test_a_truncated_file_is_an_error(tmp_path):
    path = write(tmp_path / "w.caffemodel", NET)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(WeightsError, match=r"is not a \.caffemodel, or only a part of one"):
        read_caffemodel(path)


def test_a_mismatch_that_is_allowed_is_left_out_and_told(tmp_path):
    path = write(tmp_path / "w.caffemodel", NET | {"land/score": [(7, 4, 1, 1), (7,)], "fc6": [(2, 2)]})
    found = match_weights(NET, path, Coverage.ALLOW_MISMATCH)
    assert (found.loaded, found.differing) == (["conv1", "conv1/bn"], ["land/score"])
    assert found.lines({"conv1": "Stem", "conv1/bn": "Stem", "land/score": "Head"}) == [
        "2 layers loaded: Stem (2)",
        "1 layer other shape, bands or classes, left at their filler: Head (1)",
        "1 layer not in this net: fc6",
    ]


def test_shapes_of_early_files_fit_where_ones_lead(tmp_path):
    net = caffe_pb2().NetParameter()
    net.layer.add(name="bias").blobs.add(num=1, channels=1, height=1, width=6, data=[1.0] * 6)
    (tmp_path / "old.caffemodel").write_bytes(net.SerializeToString())
    assert match_weights({"bias": [(6,)]}, tmp_path / "old.caffemodel", Coverage.FULL).loaded == ["bias"]
    with pytest.raises(WeightsError):
        match_weights({"bias": [(1, 6, 1, 1)]}, tmp_path / "old.caffemodel", Coverage.FULL)


PLAIN = {
    "conv1": [(4, 3, 7, 7)],
    **{"conv1/bn": [(4,), (4,), (1,)], "conv1/scale": [(4,), (4,)]},
    **{"conv2_blk/bn": [(4,), (4,), (1,)], "conv2_blk/scale": [(4,), (4,)], "conv2_blk": [(2, 4, 1, 1)]},
}
FUSED = {
    "conv1": [(4, 3, 7, 7)],
    "conv1/bn": [(4,), (4,), (1,), (4,), (4,)],
    "conv2_blk": [(4,), (4,), (1,), (4,), (4,), (2, 4, 1, 1)],
}


@pytest.mark.parametrize(("net", "file"), [(PLAIN, FUSED), (FUSED, PLAIN), (FUSED, FUSED)])
def test_weights_of_either_form_fit_a_net_of_either_form(tmp_path, net, file):
    found = match_weights(net, write(tmp_path / "w.caffemodel", file), Coverage.FULL)
    assert (found.loaded, found.left, found.unused) == (list(PLAIN), [], [])


def test_a_part_of_a_fused_layer_can_be_loaded(tmp_path):
    file = {name: shapes for name, shapes in PLAIN.items() if name != "conv2_blk"}
    found = match_weights(FUSED, write(tmp_path / "w.caffemodel", file), Coverage.PARTIAL)
    assert found.left == ["conv2_blk"]
    assert set(found.loaded) == set(file)
