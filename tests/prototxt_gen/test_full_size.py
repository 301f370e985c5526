"""At the paper's crops, every blob and every parameter is what Caffe makes of the prototxt."""

from pathlib import Path

import pytest

from prototxt_gen.emit import net_text
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, TRAIN, build
from tests.conftest import write_lmdb

pytestmark = pytest.mark.caffe
SOLVERS = Path(__file__).parents[2] / "solvers"
CROPS = (513, 769, 1025)


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")
    for task, classes in (("land", 6), ("road", 2)):
        write_lmdb(folder / task, task, classes, side=1025, records=1)
    return folder


def in_caffe(path: Path, text: str, phase: str):
    """Build a net in Caffe; nothing is computed, so its blobs take no memory."""
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    caffe.set_mode_cpu()
    path.write_text(text.replace('type: "msra"', 'type: "constant"'))
    return caffe.Net(str(path), getattr(caffe, phase))


def differences(net, caffe_net) -> dict:
    made = {blob.name: blob.shape for layer in net.layers for blob in layer.tops}
    return {
        name: (shape, tuple(caffe_net.blobs[name].shape))
        for name, shape in made.items()
        if shape != tuple(caffe_net.blobs[name].shape)
    }


@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
@pytest.mark.parametrize("crop", CROPS)
def test_train_blobs_and_parameters_are_caffes(tmp_path, databases, name, crop):
    sets = [f"input.crop={crop}", f"tasks.land.source='{databases}/land'"]
    if name != "baseline":
        sets.append(f"tasks.road.source='{databases}/road'")
    net = build(read_experiment(SOLVERS / name / "experiment.toml", sets), TRAIN)
    caffe_net = in_caffe(tmp_path / "net.prototxt", net_text(net, [name]), "TRAIN")
    assert differences(net, caffe_net) == {}
    params = {layer: [tuple(blob.shape) for blob in blobs] for layer, blobs in caffe_net.params.items()}
    assert net.parameter_shapes() == params


@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_deploy_blobs_are_caffes_at_each_crop_that_the_net_is_reshaped_to(tmp_path, name):
    exp = read_experiment(SOLVERS / name / "experiment.toml")
    caffe_net = in_caffe(tmp_path / "net.prototxt", net_text(build(exp, DEPLOY), [name]), "TEST")
    for crop in CROPS:
        caffe_net.blobs["data"].reshape(1, 3, crop, crop)
        caffe_net.reshape()
        assert differences(build(exp, DEPLOY, crop=crop), caffe_net) == {}
