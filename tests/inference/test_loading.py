"""The weights know their net: the card decides mean, scale and classes."""

from pathlib import Path

import pytest

from common.errors import DFCNetError, NetError, WeightsError
from inference.deploy import Deploy, read_deploy
from inference.loading import TrainedTask, load_predictor, trained_task
from prototxt_gen.model_card import ModelCard, write_card
from tests.datasets import LAND, ROAD, changed
from tests.inference.pixel_net import make_pixel_net, write_deploy

CARD = ModelCard(
    experiment="e",
    model="dfcnet",
    iteration=1,
    mean=(1.0, 2.0, 3.0),
    scale=0.5,
    crop=33,
    tasks={"land": LAND},
)


NET = Deploy(Path("deploy.prototxt"), 33, ("land_prob",), frozenset())


def test_the_card_gives_classes_mean_and_scale_without_a_word(tmp_path):
    write_card(tmp_path / "w.caffemodel", CARD)
    trained = trained_task(tmp_path / "w.caffemodel", NET, warn=pytest.fail)
    assert trained == TrainedTask("land", LAND, ("blue", "green", "red"), (1.0, 2.0, 3.0), 0.5)


def test_the_first_task_of_the_card_is_meant_unless_told(tmp_path):
    write_card(tmp_path / "w.caffemodel", CARD.model_copy(update={"tasks": {"sea": ROAD, "land": LAND}}))
    assert trained_task(tmp_path / "w.caffemodel", NET).task == "sea"
    assert trained_task(tmp_path / "w.caffemodel", NET, "land").dataset == LAND


def test_without_a_card_the_named_data_set_and_densenets_scaling_are_assumed_and_said(tmp_path):
    said = []
    trained = trained_task(tmp_path / "w.caffemodel", NET, dataset=LAND, warn=said.append)
    assert trained == TrainedTask("land", LAND, ("blue", "green", "red"), (103.94, 116.78, 123.68), 0.017)
    (line,) = said
    for word in ("w.caffemodel", "w.json", "103.94 116.78 123.68", "0.017", "urban, agriculture"):
        assert word in line
    with pytest.raises(WeightsError, match=r"w\.caffemodel: has no model card w\.json.*; name .* --dataset"):
        trained_task(tmp_path / "w.caffemodel", NET)


def test_a_task_that_was_not_learnt_is_refused(tmp_path):
    write_card(tmp_path / "w.caffemodel", CARD)
    with pytest.raises(WeightsError, match=r"w\.json: trained for land, not road"):
        trained_task(tmp_path / "w.caffemodel", NET, "road")


def test_other_classes_are_refused_with_both_lists(tmp_path):
    write_card(tmp_path / "w.caffemodel", CARD.model_copy(update={"tasks": {"land": ROAD}}))
    words = (
        r"w\.json: learnt 2 classes \(background, road\), not 6 \(urban, agriculture, .* of deepglobe_land"
    )
    with pytest.raises(WeightsError, match=words):
        trained_task(tmp_path / "w.caffemodel", NET, dataset=LAND)


def test_another_stretch_is_refused_of_a_named_data_set_and_of_nets_to_average(tmp_path):
    stretched = CARD.model_copy(update={"tasks": {"land": changed(LAND, stretch=[500, 1900])}})
    first, second = tmp_path / "w.caffemodel", tmp_path / "v.caffemodel"
    write_card(first, stretched)
    words = r"w\.json: learnt with a stretch of 500 to 1900, that of deepglobe_land is by percentiles; leave"
    with pytest.raises(WeightsError, match=words):
        trained_task(first, NET, dataset=LAND)
    write_card(second, CARD)
    write_deploy(tmp_path / "deploy.prototxt", 33, land=6)
    words = r"v\.json: learnt with a stretch by percentiles, .*w\.caffemodel with one of 500 to"
    with pytest.raises(WeightsError, match=words):
        load_predictor(read_deploy(tmp_path / "deploy.prototxt"), [first, second])


@pytest.mark.caffe
def test_the_predictor_feeds_the_net_as_the_card_says(tmp_path):
    deploy, weights, _ = make_pixel_net(tmp_path)
    write_card(weights, CARD)
    predictor, trained = load_predictor(read_deploy(deploy), weights, overlap=4, side=65)
    assert trained.dataset == LAND
    [net] = predictor.nets
    assert (net.mean, net.scale, predictor.overlap, predictor.side) == (CARD.mean, 0.5, 4, 65)
    with pytest.raises(DFCNetError, match="overlap: 65 pixels"):
        load_predictor(read_deploy(deploy), weights, overlap=65, side=65)


@pytest.mark.caffe
def test_a_net_of_other_classes_is_refused(tmp_path):
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    deploy = write_deploy(tmp_path / "deploy.prototxt", 33, land=5)
    caffe.Net(str(deploy), caffe.TEST).save(str(tmp_path / "w.caffemodel"))
    with pytest.raises(NetError, match="land_prob has 5 channels, land 6 classes"):
        load_predictor(read_deploy(deploy), tmp_path / "w.caffemodel", dataset=LAND)
