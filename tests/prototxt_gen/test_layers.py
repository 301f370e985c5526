"""Layers: the text of their fields, the shapes of their parameters, and refusals by name."""

import pytest

from common.errors import NetError
from prototxt_gen.layers import Blob, Net, literal, message, quoted


@pytest.fixture
def net() -> Net:
    net = Net("tiny", "train")
    net.section("All")
    return net


def fields_of(net: Net) -> dict:
    """Return the fields of the layer added last, by name; nested messages as dicts."""
    return {name: value if isinstance(value, str) else dict(value) for name, value in net.layers[-1].fields}


X = Blob("x", (2, 16, 33, 33))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (0.5, "0.5"),
        (1.0, "1"),
        (100.0, "100"),
        (1e-5, "1e-05"),
        (0.0005, "0.0005"),
        (-0.25, "-0.25"),
        ("MAX", "MAX"),
    ],
)
def test_literals_are_written_as_prototxt_writes_them(value, text):
    assert literal(value) == text


@pytest.mark.caffe
@pytest.mark.parametrize("value", [1e-5, 0.1, 103.94, 1 / 3, 1e20, 3.0, 1e-30])
def test_floats_come_back_from_protobuf_unchanged(value):
    from google.protobuf import text_format

    from prototxt_gen.caffe_proto import caffe_pb2

    parsed = text_format.Parse(f"base_lr: {literal(value)}", caffe_pb2().SolverParameter()).base_lr
    assert parsed == caffe_pb2().SolverParameter(base_lr=value).base_lr


@pytest.mark.caffe
@pytest.mark.parametrize("text", ["data/land", 'a "quoted" name', "back\\slash", "Straße", ""])
def test_strings_come_back_from_protobuf_unchanged(text):
    from google.protobuf import text_format

    from prototxt_gen.caffe_proto import caffe_pb2

    assert text_format.Parse(f"net: {quoted(text)}", caffe_pb2().SolverParameter()).net == text


def test_messages_repeat_lists_nest_tuples_and_leave_none_out():
    inner = message("shape", dim=[1, 3])
    assert message("p", a=1, b=None, c=[2, 0.5], d=inner, e=False) == (
        "p",
        [("a", "1"), ("c", "2"), ("c", "0.5"), ("shape", [("dim", "1"), ("dim", "3")]), ("e", "false")],
    )


def test_a_convolution_has_kernels_over_all_input_channels(net):
    top = net.convolution("c", X, 8, kernel=3, pad=1)
    assert top == Blob("c", (2, 8, 33, 33))
    assert net.parameter_shapes() == {"c": [(8, 16, 3, 3)]}
    assert fields_of(net)["convolution_param"] == {
        "num_output": "8",
        "kernel_size": "3",
        "pad": "1",
        "bias_term": "false",
        "weight_filler": [("type", '"msra"')],
    }


def test_a_convolution_may_have_a_bias(net):
    net.convolution("c", X, 8, kernel=1, bias=True)
    assert net.parameter_shapes() == {"c": [(8, 16, 1, 1), (8,)]}
    assert "bias_term" not in fields_of(net)["convolution_param"]


def test_a_convolution_without_channels_is_refused(net):
    with pytest.raises(NetError, match="c: would have 0 channels"):
        net.convolution("c", X, 0, kernel=1)


def test_batch_norm_statistics_are_no_weights_to_learn(net):
    net.batch_norm("b", X, in_place=False, moving_average=0.9)
    layer = net.layers[-1]
    assert [name for name, _ in layer.fields].count("param") == 3
    for name, pairs in layer.fields:
        assert name != "param" or dict(pairs) == {"lr_mult": "0", "decay_mult": "0"}
    assert layer.params == ((16,), (16,), (1,))
    assert fields_of(net)["batch_norm_param"] == {"moving_average_fraction": "0.9", "eps": "1e-05"}


def test_batch_norm_works_in_place_only_on_demand(net):
    assert net.batch_norm("a", X, in_place=False).name == "a"
    assert net.batch_norm("b", X, in_place=True).name == "x"


def test_frozen_batch_norm_uses_the_stored_statistics(net):
    net.batch_norm("b", X, in_place=True, frozen=True)
    assert fields_of(net)["batch_norm_param"]["use_global_stats"] == "true"


def test_scale_relu_and_power_work_in_place(net):
    assert net.scale("s", X) == net.relu("r", X) == net.power("p", X, 0.017) == X
    assert net.parameter_shapes() == {"s": [(16,), (16,)]}


def test_average_pooling_stays_with_caffes_own_engine(net):
    assert net.pool("p", X, "AVE", kernel=2, stride=2).shape == (2, 16, 17, 17)
    assert fields_of(net)["pooling_param"]["engine"] == "CAFFE"
    assert net.pool("q", X, "MAX", kernel=3, stride=2, pad=1).shape == (2, 16, 17, 17)
    assert "engine" not in fields_of(net)["pooling_param"]


def test_interp_enlarges_both_axes(net):
    assert net.interp("i", X, zoom_factor=4, top="big") == Blob("big", (2, 16, 129, 129))
    assert fields_of(net)["interp_param"] == {"zoom_factor": "4"}


def test_concat_names_an_axis_other_than_the_channels(net):
    assert net.concat("c", [X, X]).shape == (2, 32, 33, 33)
    assert fields_of(net) == {}
    assert net.concat("d", [X, X], axis=0).shape == (4, 16, 33, 33)
    assert fields_of(net) == {"concat_param": {"axis": "0"}}


def test_slice_gives_one_blob_per_top(net):
    image, label = net.slice("s", Blob("r", (2, 4, 33, 33)), ["image", "label"], axis=1, points=[3])
    assert image == Blob("image", (2, 3, 33, 33))
    assert label == Blob("label", (2, 1, 33, 33))


def test_a_data_layer_crops_and_mirrors_all_channels_together(net):
    net.data("d", "some/db", (2, 4, 33, 33), [103.94, 116.0, 123.68, 0], mirror=True)
    transform = net.layers[-1].fields[0]
    means = [("mean_value", value) for value in ("103.94", "116", "123.68", "0")]
    assert transform == ("transform_param", [("crop_size", "33"), ("mirror", "true"), *means])
    assert fields_of(net)["data_param"] == {"source": '"some/db"', "batch_size": "2", "backend": "LMDB"}


def test_a_loss_ignores_its_label_and_averages_over_the_rest(net):
    label = Blob("label", (2, 1, 33, 33))
    assert net.loss("l", X, label, "loss", weight=0.5, ignore_label=255).shape == ()
    assert fields_of(net) == {
        "loss_weight": "0.5",
        "loss_param": {"ignore_label": "255", "normalization": "VALID"},
    }


@pytest.mark.parametrize("shape", [(2, 1, 32, 33), (1, 1, 33, 33)])
def test_a_loss_whose_scores_do_not_cover_the_label_is_refused(net, shape):
    with pytest.raises(NetError, match=r"l: scores .* do not cover the label"):
        net.loss("l", X, Blob("label", shape), "loss", 1.0, 255)


def test_blobs_that_do_not_fit_are_refused_with_the_layers_name(net):
    small = Blob("small", (2, 16, 17, 17))
    for name, call in (("c", net.concat), ("e", net.eltwise_sum)):
        with pytest.raises(NetError, match=f"{name}: cannot"):
            call(name, [X, small])
    with pytest.raises(NetError, match="s: cannot cut"):
        net.slice("s", X, ["a", "b"], axis=1, points=[16])


def test_a_name_stands_once_in_a_net(net):
    net.relu("r", X)
    with pytest.raises(NetError, match="r: stands twice"):
        net.relu("r", X)


def test_layers_stand_in_the_section_begun_last(net):
    net.relu("a", X)
    net.section("More")
    net.relu("b", X)
    names = [(section.title, [layer.name for layer in section.layers]) for section in net.sections]
    assert names == [("All", ["a"]), ("More", ["b"])]
    assert [layer.name for layer in net.layers] == ["a", "b"]
