"""A deploy prototxt is checked before Caffe, which would end the process, sees it."""

import pytest

from common.errors import NetError
from inference.deploy import check_input_size, read_deploy
from prototxt_gen.caffe_proto import find_caffe_pb2

caffe_messages = pytest.mark.skipif(find_caffe_pb2() is None, reason="Caffe is not built")

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 65, 65] } } }'
HEADS = """
layer { name: "score" type: "Convolution" bottom: "data" top: "score" }
layer { name: "relu" type: "ReLU" bottom: "score" top: "score" }
layer { name: "land" type: "Softmax" bottom: "score" top: "land_prob" }
layer { name: "road" type: "Softmax" bottom: "score" top: "road_prob" }
"""


def write(folder, text):
    path = folder / "deploy.prototxt"
    path.write_text(text)
    return path


@caffe_messages
def test_side_outputs_and_layer_types_are_read(tmp_path):
    deploy = read_deploy(write(tmp_path, INPUT + HEADS))
    assert deploy.side == 65
    assert deploy.outputs == ("land_prob", "road_prob")
    assert deploy.layer_types == {"Input", "Convolution", "ReLU", "Softmax"}
    assert deploy.output_for("road") == "road_prob"
    assert (deploy.tasks, deploy.channels) == (["land", "road"], 3)
    assert read_deploy(write(tmp_path, INPUT.replace("1, 3,", "1, 8,") + HEADS)).channels == 8


@caffe_messages
def test_the_older_way_to_declare_the_input_is_read(tmp_path):
    text = 'input: "data" input_shape { dim: [1, 3, 33, 33] }' + HEADS
    assert read_deploy(write(tmp_path, text)).side == 33


@caffe_messages
def test_a_task_without_output_is_named_with_the_outputs_there_are(tmp_path):
    deploy = read_deploy(write(tmp_path, INPUT + HEADS.replace("land_prob", "land_score")))
    with pytest.raises(NetError, match=r"deploy\.prototxt: has no output land_prob .*land_score, road_prob"):
        deploy.output_for("land")


@caffe_messages
@pytest.mark.parametrize(
    "text, fact",
    [
        ("layer { nane: 1 }", "is not a prototxt"),
        (HEADS, r"has no input data .*none"),
        (INPUT.replace("65, 65", "65, 97") + HEADS, r"\[1, 3, 65, 97\]"),
        (INPUT.replace("65, 65", "512, 512") + HEADS, "512 is not 32k.1; take 481 or 513"),
    ],
)
def test_what_is_no_deploy_net_is_named_in_one_line(tmp_path, text, fact):
    with pytest.raises(NetError, match=rf"deploy\.prototxt: .*{fact}") as caught:
        read_deploy(write(tmp_path, text))
    assert "\n" not in str(caught.value)


@caffe_messages
def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NetError, match=r"none\.prototxt: cannot be read"):
        read_deploy(tmp_path / "none.prototxt")


@pytest.mark.parametrize(
    "side, near",
    [(0, "33 or 65"), (32, "33 or 65"), (64, "33 or 65"), (1024, "993 or 1025"), (1030, "1025 or 1057")],
)
def test_a_side_that_is_not_32k_plus_1_names_its_neighbours(side, near):
    with pytest.raises(NetError, match=rf"{side} is not 32k\+1; take {near}"):
        check_input_size("tile", side)


@pytest.mark.parametrize("side", [33, 513, 1025])
def test_32k_plus_1_is_a_side(side):
    assert check_input_size("tile", side) == side
