"""The command rewrites weights for the other form of a net, and back."""

import numpy as np
import pytest

from common.datasets import read_dataset
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.experiment import read_experiment
from prototxt_gen.model_card import ModelCard, read_card, write_card
from prototxt_gen.models import TRAIN, build
from tests.conftest import refused

pytestmark = pytest.mark.caffe
CARD = ModelCard(
    experiment="tiny",
    model="dfcnet",
    iteration=6,
    mean=(1.0, 2.0, 3.0),
    scale=0.5,
    crop=33,
    tasks={"land": read_dataset("deepglobe_land")},
)


@pytest.fixture
def plain(tiny, tmp_path):
    rng = np.random.default_rng(6)
    shapes = build(read_experiment(tiny), TRAIN).parameter_shapes()
    weights = {name: [rng.normal(size=s).astype(np.float32) for s in blobs] for name, blobs in shapes.items()}
    write_caffemodel(tmp_path / "plain.caffemodel", "tiny", weights)
    write_card(tmp_path / "plain.caffemodel", CARD)
    return tmp_path / "plain.caffemodel"


def test_there_and_back_the_weights_are_the_same_bits(plain, tiny, tmp_path, run_tool):
    fused, back = tmp_path / "fused.caffemodel", tmp_path / "back.caffemodel"
    done = run_tool("convert_weights.py", plain, "--to", "fused", "--out", fused)
    assert (done.returncode, done.stderr) == (0, "")
    exp = read_experiment(tiny, ["densenet.dense_block='fused'"])
    shapes = {name: [blob.shape for blob in blobs] for name, blobs in read_caffemodel(fused).items()}
    assert shapes == build(exp, TRAIN).parameter_shapes()
    assert read_card(fused) == CARD
    assert run_tool("convert_weights.py", fused, "--to", "plain", "--out", back).returncode == 0
    weights, again = read_caffemodel(plain), read_caffemodel(back)
    assert list(weights) == list(again)
    for name, blobs in weights.items():
        assert [blob.tobytes() for blob in blobs] == [blob.tobytes() for blob in again[name]]


def test_an_output_that_exists_is_not_replaced_unasked(plain, run_tool):
    before = plain.read_bytes()
    refused(run_tool("convert_weights.py", plain, "--to", "fused", "--out", plain), plain, "--overwrite")
    assert plain.read_bytes() == before


def test_no_card_of_other_weights_is_replaced_unasked_or_left_beside(plain, tmp_path, run_tool):
    out, card = tmp_path / "out.caffemodel", tmp_path / "out.json"
    card.write_text("of others")
    refused(run_tool("convert_weights.py", plain, "--to", "fused", "--out", out), card, "--overwrite")
    assert (card.read_text(), out.exists()) == ("of others", False)
    plain.with_suffix(".json").unlink()
    assert run_tool("convert_weights.py", plain, "--to", "fused", "--out", out, "--overwrite").returncode == 0
    assert out.exists() and not card.exists()


def test_a_file_that_holds_no_weights_is_refused(tmp_path, run_tool):
    (tmp_path / "x.caffemodel").write_bytes(b"PK\x03\x04 a zip file")
    done = run_tool("convert_weights.py", tmp_path / "x.caffemodel", "--to", "fused", "--out", tmp_path / "y")
    refused(done, "x.caffemodel", "is not a .caffemodel")
    assert not (tmp_path / "y").exists()
