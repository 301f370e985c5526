"""The weights know their net: the card decides mean, scale and classes."""

import pytest

from common.datasets import read_dataset
from common.errors import DFCNetError, NetError, WeightsError
from data_prep.classes import TASKS
from inference.loading import input_scaling, load_predictor
from prototxt_gen.model_card import ModelCard, write_card
from tests.inference.pixel_net import make_pixel_net, write_deploy

LAND = TASKS["land"]
CARD = ModelCard(
    experiment="e",
    model="dfcnet",
    iteration=1,
    mean=(1.0, 2.0, 3.0),
    scale=0.5,
    crop=33,
    tasks={"land": read_dataset("deepglobe_land")},
)


def test_the_card_gives_mean_and_scale_without_a_word(tmp_path):
    write_card(tmp_path / "w.caffemodel", CARD)
    said = []
    assert input_scaling(tmp_path / "w.caffemodel", LAND, said.append) == ((1.0, 2.0, 3.0), 0.5)
    assert said == []


def test_without_a_card_densenets_are_assumed_and_said(tmp_path):
    said = []
    assert input_scaling(tmp_path / "w.caffemodel", LAND, said.append) == ((103.94, 116.78, 123.68), 0.017)
    (line,) = said
    for word in ("w.caffemodel", "w.json", "103.94 116.78 123.68", "0.017", "urban, agriculture"):
        assert word in line


def test_a_task_that_was_not_learnt_is_refused(tmp_path):
    write_card(tmp_path / "w.caffemodel", CARD)
    with pytest.raises(WeightsError, match=r"w\.json: trained for land, not road"):
        input_scaling(tmp_path / "w.caffemodel", TASKS["road"], print)


def test_other_classes_are_refused_with_both_lists(tmp_path):
    write_card(tmp_path / "w.caffemodel", CARD.model_copy(update={"tasks": {"land": ("water", "urban")}}))
    with pytest.raises(WeightsError, match=r"w\.json: land classes water, urban, not urban, agriculture"):
        input_scaling(tmp_path / "w.caffemodel", LAND, print)


@pytest.mark.caffe
def test_the_predictor_feeds_the_net_as_the_card_says(tmp_path):
    deploy, weights, _ = make_pixel_net(tmp_path)
    write_card(weights, CARD)
    predictor = load_predictor(deploy, weights, LAND, overlap=4, side=65)
    assert (predictor.mean, predictor.scale, predictor.overlap, predictor.net.side) == (CARD.mean, 0.5, 4, 65)
    with pytest.raises(DFCNetError, match="overlap: 65 pixels"):
        load_predictor(deploy, weights, LAND, overlap=65, side=65)


@pytest.mark.caffe
def test_a_net_of_other_classes_is_refused(tmp_path):
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    deploy = write_deploy(tmp_path / "deploy.prototxt", 33, land=5)
    caffe.Net(str(deploy), caffe.TEST).save(str(tmp_path / "w.caffemodel"))
    with pytest.raises(NetError, match="land_prob has 5 channels, land 6 classes"):
        load_predictor(deploy, tmp_path / "w.caffemodel", LAND)
