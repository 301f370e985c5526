"""Which blob is the deepest is told by the nets; what it holds, by Caffe run to the end or by hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import NetError
from evaluation.feature_figure import Column, columns, draw_features
from evaluation.features import FeatureNet, choose_blobs, deepest, strongest, trunk
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, build
from prototxt_gen.prototxt import read_net
from tests.datasets import LAND

ROOT = Path(__file__).parents[2]


def blobs_of(name):
    net = build(read_experiment(ROOT / "solvers" / name / "experiment.toml"), DEPLOY)
    sizes = {top.name: top.size for layer in net.layers for top in layer.tops}
    return trunk(read_net(ROOT / "solvers" / name / "deploy.prototxt"), sizes)


def test_the_deepest_blobs_of_the_papers_nets():
    """Baseline and classmate end in DenseBlock 8 at 1/4, DFCNet in the whole fusion at 1/2 (3.2)."""
    for name in ("baseline", "classmate"):
        found = deepest(blobs_of(name))
        assert (found.name, found.layer, found.rate) == ("conv8_blk", "conv8_blk", 4)
    dfcnet = blobs_of("dfcnet")
    found = deepest(dfcnet)
    assert (found.name, found.rate) == ("fusion2_9", 2)
    # beside the baseline: also what DenseBlock 8 gives, and not a sum of the encoder's blocks
    assert deepest(dfcnet, rate=4).name == "conv8_blk"
    assert not any("land" in name or "road" in name for name in dfcnet)


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A tiny DFCNet with fillers for weights: deploy prototxt, weights, and the caffe.Net."""
    from prototxt_gen.emit import write_nets
    from tests.conftest import TINY
    from training.pycaffe import import_caffe

    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    write_nets(read_experiment(tmp_path / "tiny.toml"), tmp_path / "nets", False)
    caffe = import_caffe()
    caffe.set_mode_cpu()
    built = caffe.Net(str(tmp_path / "nets" / "deploy.prototxt"), caffe.TEST)
    for name, parameters in built.params.items():
        if name.endswith("/bn"):  # mean 0, variance 1
            parameters[1].data[...] = parameters[2].data[...] = 1
    built.save(str(tmp_path / "w.caffemodel"))
    return tmp_path / "nets" / "deploy.prototxt", tmp_path / "w.caffemodel", built


@pytest.mark.caffe
def test_features_are_those_of_the_net_run_to_its_end(net):
    deploy, weights, whole = net
    warnings = []
    features = FeatureNet(deploy, weights, "land", LAND, 65, warnings.append)
    assert len(warnings) == 1  # no model card
    image = np.random.default_rng(0).integers(0, 256, (65, 65, 3), np.uint8)
    whole.blobs["data"].reshape(1, 3, 65, 65)
    scaled = (image.astype(float) - (103.94, 116.78, 123.68)) * 0.017
    whole.blobs["data"].data[0] = scaled.transpose(2, 0, 1)
    whole.forward()
    for name, size in (("fusion2_9", 33), ("conv8_blk", 17)):
        answer = features.feature(features.blob(name), image)
        assert answer.shape[1:] == (size, size)
        np.testing.assert_allclose(answer, whole.blobs[name].data[0], rtol=1e-4, atol=1e-5)


@pytest.mark.caffe
def test_blobs_can_be_named_but_must_be_there(net):
    nets = [FeatureNet(*net[:2], None, LAND, 33, lambda line: None)] * 2
    assert [blob.name for blob in choose_blobs(nets)] == ["fusion2_9", "fusion2_9"]
    assert [blob.name for blob in choose_blobs(nets, ["concat_5_1"])] == ["concat_5_1"] * 2
    with pytest.raises(NetError, match=r"deploy\.prototxt: has no blob land_score .*fusion2_9"):
        choose_blobs(nets, ["land_score"])
    with pytest.raises(NetError, match="--blobs: 3 for 2"):
        choose_blobs(nets, ["a", "b", "c"])


def test_channels_that_vary_most_over_all_images_come_first():
    one, two = np.zeros((2, 4, 3, 3))
    one[2, 0, 0], two[2, 0, 0] = 1, -5
    one[1, :2] = 1
    two[3] = 9  # flat in each image, but not over both
    assert strongest([one, two], 3) == [3, 2, 1]
    shown = columns([one, two], 1)
    assert [column.title for column in shown] == ["mean |x|", "channel 3"]
    assert shown[0].maps[1][0, 0] == (5 + 9) / 4


def test_the_grid_has_a_row_per_image_and_a_group_per_model(tmp_path):
    """Bright and dark halves of the maps are found where they belong."""
    ramp = np.repeat(np.linspace(0, 1, 20)[None], 20, axis=0)
    models = {"A": [Column("x", [ramp, ramp[:, ::-1]])], "B": [Column("y", [ramp.T, ramp[::-1].T])]}
    draw_features([np.full((40, 40, 3), 90, np.uint8)] * 2, models, tmp_path / "f.png")
    grey = cv2.cvtColor(cv2.imread(str(tmp_path / "f.png")), cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    row, column = (height - 72) // 2, width // 3

    def brightness(place, at):  # of the left or upper, and of the right or lower quarter
        part = grey[72 + place[0] * row :, place[1] * column :][20 : row - 20, 30 : column - 30]
        part = part if at == "x" else part.T
        quarter = part.shape[1] // 4
        return part[:, :quarter].mean(), part[:, -quarter:].mean()

    for place, at, grows in (((0, 1), "x", True), ((1, 1), "x", False), ((0, 2), "y", True)):
        first, last = brightness(place, at)
        assert abs(first - last) > 50, place
        assert (first < last) == grows, place
