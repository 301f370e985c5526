"""The card beside the weights: what is written is read, and what is broken is named."""

import json
from hashlib import sha256

import numpy as np
import pytest

from common.datasets import DATASETS, read_dataset
from common.errors import ExperimentError, WeightsError
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.model_card import ModelCard, card_path, read_card, write_card

LAND, ROAD = read_dataset("deepglobe_land"), read_dataset("deepglobe_road")
CARD = {
    "experiment": "dfcnet_small",
    "model": "dfcnet",
    "iteration": 1200,
    "bands": ("blue", "green", "red"),
    "mean": (103.94, 116.78, 123.68),
    "scale": 0.017,
    "crop": 257,
    "tasks": {"land": LAND.model_dump(), "road": ROAD.model_dump()},
}


def test_what_is_written_is_read(tmp_path):
    weights = tmp_path / "net_iter_1200.caffemodel"
    path = write_card(weights, ModelCard(**CARD))
    assert path == card_path(weights) == tmp_path / "net_iter_1200.json"
    assert read_card(weights) == ModelCard(**CARD)
    assert set(json.loads(path.read_text())) == set(CARD)


def test_what_a_training_started_from_is_written_and_read(tmp_path):
    """Nothing from scratch; no such entry where it is not known, as in the cards of older versions."""
    weights = tmp_path / "net.caffemodel"
    for known in ((), ({"name": "first.caffemodel", "sha256": "0a" * 32},)):
        path = write_card(weights, ModelCard(**CARD, started_from=known))
        assert json.loads(path.read_text())["started_from"] == list(known)
        assert read_card(weights) == ModelCard(**CARD, started_from=known)
    assert ModelCard(**CARD).started_from is None


def test_the_classes_come_back_with_their_colours(tmp_path):
    write_card(tmp_path / "net.caffemodel", ModelCard(**CARD))
    tasks = read_card(tmp_path / "net.caffemodel").tasks
    assert list(tasks) == ["land", "road"]
    assert tasks == {"land": LAND, "road": ROAD}


def test_a_card_of_version_1_has_the_data_sets_whose_classes_it_names(tmp_path):
    tasks = {"land": list(LAND.class_names), "road": ["background", "road"]}
    old = {key: value for key, value in CARD.items() if key != "bands"} | {"tasks": tasks}
    (tmp_path / "net.json").write_text(json.dumps(old))
    assert read_card(tmp_path / "net.caffemodel") == ModelCard(**CARD)
    (tmp_path / "net.json").write_text(json.dumps(old | {"tasks": {"sea": ["ice", "ship"]}}))
    found = (
        r"net\.json: is of version 1\.0, and no file of datasets/ has its classes ice, ship; write in place"
    )
    with pytest.raises(ExperimentError, match=found):
        read_card(tmp_path / "net.caffemodel")


def test_a_card_of_version_1_whose_classes_two_data_sets_have_is_refused_until_one_is_named(
    tmp_path, monkeypatch
):
    text = (DATASETS / "deepglobe_road.toml").read_text()
    monkeypatch.setattr("common.datasets.DATASETS", tmp_path)
    for name in ("paved", "tracks"):
        (tmp_path / f"{name}.toml").write_text(text)
    tasks = {"road": ["background", "road"]}
    (tmp_path / "net.json").write_text(json.dumps(CARD | {"tasks": tasks}))
    found = r"paved and tracks of datasets/ has its classes.*in place of the list tasks\.road the name"
    with pytest.raises(ExperimentError, match=found):
        read_card(tmp_path / "net.caffemodel")
    for named in ("tracks", str(tmp_path / "tracks.toml")):
        (tmp_path / "net.json").write_text(json.dumps(CARD | {"tasks": {"road": named}}))
        assert read_card(tmp_path / "net.caffemodel").tasks["road"].name == "tracks"


def test_no_card_is_none(tmp_path):
    assert read_card(tmp_path / "net.caffemodel") is None


def test_a_card_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        ModelCard(**CARD).scale = 1.0


@pytest.mark.parametrize(
    "change, named",
    [
        ({"scale": 0}, "scale = 0"),
        ({"scale": "much"}, "scale = 'much'"),
        ({"crop": 512}, "crop: 512 is not 32k+1"),
        ({"iteration": -1}, "iteration = -1"),
        ({"mean": [1, 2]}, "mean"),
        ({"bands": ["red", "red", "green"]}, "bands: red, red, green names a band twice"),
        ({"colour": "BGR"}, "unknown key colour"),
    ],
)
def test_a_broken_field_is_named_with_file_value_and_remedy(tmp_path, change, named):
    (tmp_path / "net.json").write_text(json.dumps(CARD | change, default=list))
    with pytest.raises(WeightsError) as caught:
        read_card(tmp_path / "net.caffemodel")
    message = str(caught.value)
    assert str(tmp_path / "net.json") in message
    assert named in message
    assert "write it again" in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["{half a car", "[" * 100_000], ids=["half", "deep"])
def test_a_file_that_is_no_json_is_named(tmp_path, text):
    (tmp_path / "net.json").write_text(text)
    with pytest.raises(WeightsError, match=r"net\.json.*not a model card"):
        read_card(tmp_path / "net.caffemodel")


@pytest.mark.caffe
def test_weights_that_are_not_those_of_their_card_are_refused(tmp_path):
    weights = tmp_path / "net.caffemodel"
    blobs = {"conv1": [np.arange(6, dtype=np.float32)]}
    write_caffemodel(weights, "net", blobs)
    write_card(weights, ModelCard(**CARD))
    noted = json.loads((tmp_path / "net.json").read_text())["weights_sha256"]
    assert noted == sha256(weights.read_bytes()).hexdigest()
    assert read_card(weights) == ModelCard(**CARD)
    assert read_caffemodel(weights)["conv1"][0].tolist() == [0, 1, 2, 3, 4, 5]
    blobs["conv1"][0][5] = 7
    write_caffemodel(weights, "net", blobs, overwrite=True)
    with pytest.raises(WeightsError, match=r"does not have the checksum of its card net\.json; take a copy"):
        read_caffemodel(weights)
    (tmp_path / "net.json").unlink()
    assert read_caffemodel(weights)["conv1"][0].tolist() == [0, 1, 2, 3, 4, 7]
