"""The paper's nets as ONNX answer as in Caffe, for tiles and batches of any size."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.datasets import read_dataset
from common.errors import DFCNetError, NetError
from prototxt_gen.emit import net_message, net_text
from prototxt_gen.experiment import read_experiment
from prototxt_gen.fold import fold
from prototxt_gen.fused_weights import fuse_weights
from prototxt_gen.model_card import ModelCard
from prototxt_gen.models import DEPLOY, build
from prototxt_gen.onnx_export import to_onnx, write_onnx
from tests.prototxt_gen.random_net import answer, random_weights

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytestmark = pytest.mark.caffe
SOLVERS = Path(__file__).parents[2] / "solvers"
CARD = ModelCard(
    experiment="dfcnet_demo",
    model="dfcnet",
    iteration=7,
    mean=(103.94, 116.78, 123.68),
    scale=0.017,
    crop=65,
    tasks={"land": read_dataset("deepglobe_land"), "road": read_dataset("deepglobe_road")},
)


def tiles(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 1.2, shape).astype(np.float32)


def run(model, x: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # threads that wait for each other slow a busy machine's tests
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"data": x}), strict=True))


@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_the_papers_nets_in_all_forms_answer_as_plain_layers_in_caffe(tmp_path, name):
    exp = read_experiment(SOLVERS / name / "experiment.toml")
    plain = build(exp, DEPLOY, crop=65)
    net, weights, x = net_message(plain), random_weights(plain), tiles(1, 3, 65, 65)
    expected = answer(tmp_path, net_text(plain, ["x"]), weights, x)
    fused = read_experiment(SOLVERS / name / "experiment.toml", ["densenet.dense_block='fused'"])
    forms = [
        (net, weights),
        fold(net, weights, "w"),
        (net_message(build(fused, DEPLOY, crop=65)), fuse_weights(weights)),
    ]
    for form in forms:
        got = run(to_onnx(*form, "w"), x)
        assert sorted(got) == sorted(f"{task}_prob" for task in exp.task_names())
        for blob, probabilities in got.items():
            assert np.abs(probabilities - expected[blob]).max() < 1e-4
            assert expected[blob].std() > 0.01  # an answer that depends on the image


@pytest.fixture(scope="module")
def small():
    """Return (NetParameter, weights, exported model) of the small DFCNet."""
    exp = read_experiment(SOLVERS / "dfcnet_demo" / "experiment.toml", ["densenet.dense_block='plain'"])
    net = build(exp, DEPLOY, crop=65)
    weights = random_weights(net)
    return exp, weights, to_onnx(net_message(net), weights, "w", CARD)


@pytest.mark.parametrize("side", [33, 65, 97, 129])
def test_one_model_takes_all_sides_and_batches(tmp_path, small, side):
    exp, weights, model = small
    x = tiles(3, 3, side, side)
    text = net_text(build(exp, DEPLOY, crop=side), ["x"])
    got = run(model, x)["land_prob"]
    for index in range(len(x)):
        expected = answer(tmp_path, text, weights, x[index : index + 1])["land_prob"]
        assert np.abs(got[index] - expected[0]).max() < 1e-4


def test_weights_of_fused_layers_fit_the_plain_net(small):
    exp, weights, model = small
    assert to_onnx(net_message(build(exp, DEPLOY, crop=65)), fuse_weights(weights), "w", CARD) == model


def test_the_model_card_is_in_the_file(tmp_path, small):
    path = tmp_path / "net.onnx"
    write_onnx(path, small[2])
    read = onnx.load(str(path))
    fields = {prop.key: json.loads(prop.value) for prop in read.metadata_props}
    assert fields == CARD.model_dump(mode="json")
    assert [entry["name"] for entry in fields["tasks"]["road"]["classes"]] == ["background", "road"]
    assert "(BGR - [103.94, 116.78, 123.68]) * 0.017" in read.doc_string
    in_engine = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    assert in_engine["mean"] == "[103.94, 116.78, 123.68]"


def test_a_model_without_a_card_says_nothing_about_its_weights(small):
    exp, weights, _ = small
    assert not to_onnx(net_message(build(exp, DEPLOY, crop=65)), weights, "w").metadata_props


def test_one_output_alone_leaves_the_other_tasks_layers_out(small):
    exp, weights, model = small
    net = net_message(build(exp, DEPLOY, crop=65))
    road = to_onnx(net, weights, "w", outputs=["road_prob"])
    x = tiles(1, 3, 65, 65)
    got = run(road, x)
    assert list(got) == ["road_prob"]
    np.testing.assert_allclose(got["road_prob"], run(model, x)["road_prob"], atol=1e-6)
    assert not [node.name for node in road.graph.node if node.name.startswith("land")]
    with pytest.raises(NetError, match="no layer makes sea_prob; choose outputs of land_prob, road_prob"):
        to_onnx(net, weights, "w", outputs=["sea_prob"])


def test_without_onnx_the_command_that_installs_it_is_named(small, monkeypatch):
    from common import optional

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    exp, weights, _ = small
    with pytest.raises(DFCNetError, match=r"is not installed; run `.*requirements/locked\.txt"):
        to_onnx(net_message(build(exp, DEPLOY, crop=65)), weights, "w")


@pytest.mark.parametrize("sides", [(64, 65), (97, 90), (66, 66), (32, 32)])
def test_a_tile_of_other_sides_than_32k_plus_1_is_refused_by_the_graph(small, sides):
    """A backend would answer with a map that is smaller than the tile, and shifted against it."""
    _, _, model = small
    answers = run(model, tiles(1, 3, 65, 97))
    assert [answer.shape[2:] for answer in answers.values()] == [(65, 97)] * 2
    with pytest.raises(Exception, match=r"data: sides must be 32k\+1"):
        run(model, tiles(1, 3, *sides))
