"""Caffe agrees with the shapes that we infer, trains all weights, and keeps the tasks of a batch apart."""

from pathlib import Path

import lmdb
import numpy as np
import pytest

from prototxt_gen.emit import net_text
from prototxt_gen.experiment import Experiment, read_experiment
from prototxt_gen.layers import Net
from prototxt_gen.models import DEPLOY, TRAIN, build
from tests.conftest import write_lmdb
from tests.prototxt_gen.nets import NAMES, blobs, experiment

pytestmark = pytest.mark.caffe


def with_crop(exp: Experiment, crop: int) -> Experiment:
    """Return the experiment at another crop, its data where the fixture `tiny` has them."""
    tasks = {
        name: task.model_copy(update={"source": f"{name}_lmdb", "loss_weight": 2.0})
        for name, task in exp.tasks.items()
    }
    return exp.model_copy(update={"input": exp.input.model_copy(update={"crop": crop}), "tasks": tasks})


def in_caffe(net: Net, folder: Path, plain: bool = True, testing: bool = False):
    """Return Caffe's net.

    `plain` leaves the random fillers out, which take most of the time; `testing` is for a train net:
    stored statistics and centre crops. Caffe would still mirror at random then.
    """
    from google.protobuf import text_format

    from prototxt_gen.caffe_proto import caffe_pb2
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    caffe.set_mode_cpu()
    parsed = text_format.Parse(net_text(net, ["test"]), caffe_pb2().NetParameter())
    for layer in parsed.layer:
        if layer.type == "Convolution" and plain:
            layer.convolution_param.ClearField("weight_filler")
        if layer.type == "Data" and testing:
            layer.transform_param.mirror = False
    path = folder / f"{net.name}_{net.phase}.prototxt"
    path.write_text(text_format.MessageToString(parsed))
    return caffe.Net(str(path), caffe.TRAIN if net.phase == TRAIN and not testing else caffe.TEST)


def assert_shapes_are_caffes(net: Net, caffe_net) -> None:
    # Caffe copies a blob for each of its readers, under names with _split_.
    found = {name: tuple(x.data.shape) for name, x in caffe_net.blobs.items() if "_split_" not in name}
    assert found == blobs(net)
    params = {name: [tuple(x.data.shape) for x in xs] for name, xs in caffe_net.params.items()}
    assert params == net.parameter_shapes()


@pytest.mark.parametrize("name", NAMES)
def test_a_deploy_nets_shapes_are_caffes_own_built_or_reshaped(name, tmp_path):
    small, large = (build(experiment(name), DEPLOY, crop=crop) for crop in (65, 97))
    caffe_net = in_caffe(small, tmp_path)
    assert_shapes_are_caffes(small, caffe_net)
    caffe_net.blobs["data"].reshape(1, 3, 97, 97)
    caffe_net.reshape()
    assert_shapes_are_caffes(large, caffe_net)


@pytest.mark.parametrize("name", NAMES)
def test_a_train_nets_shapes_are_caffes_own(name, tiny):
    train = build(with_crop(experiment(name), 33), TRAIN)
    caffe_net = in_caffe(train, tiny.parent)
    assert_shapes_are_caffes(train, caffe_net)
    weights = {blob: caffe_net.blob_loss_weights[blob] for blob in caffe_net.blob_loss_weights}
    losses = {f"{task}_loss": 2.0 for task in experiment(name).tasks}
    assert {blob: weight for blob, weight in weights.items() if weight} == losses


def test_a_tiny_training_net_gives_finite_losses_and_gradients_to_every_weight(tiny):
    exp = read_experiment(tiny)
    caffe_net = in_caffe(build(exp, TRAIN), tiny.parent, plain=False)
    losses = caffe_net.forward()
    assert set(losses) == {"land_loss", "road_loss"}
    assert all(np.isfinite(loss).all() and loss > 0.1 for loss in losses.values())
    caffe_net.backward()
    for name, params in caffe_net.params.items():
        if not name.endswith("/bn"):
            assert all(np.isfinite(p.diff).all() for p in params), name
            assert any(p.diff.any() for p in params), name


def settle(caffe_net) -> None:
    """Give BatchNorm the statistics of a net that has been trained: no net starts with any."""
    rng = np.random.default_rng(0)
    for name, params in caffe_net.params.items():
        if name.endswith("/bn"):
            params[0].data[...] = rng.normal(0, 0.1, params[0].data.shape)
            params[1].data[...] = rng.uniform(0.5, 2, params[1].data.shape)
            params[2].data[...] = 1


def records(path: Path) -> list[np.ndarray]:
    from prototxt_gen.caffe_proto import caffe_pb2

    with lmdb.open(str(path), readonly=True) as environment, environment.begin() as reading:
        datums = [caffe_pb2().Datum.FromString(value) for _, value in reading.cursor()]
    return [np.frombuffer(d.data, np.uint8).reshape(d.channels, d.height, d.width) for d in datums]


def invert_images(path: Path) -> None:
    from prototxt_gen.caffe_proto import caffe_pb2

    inverted = [np.concatenate([255 - record[:3], record[3:]]) for record in records(path)]
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as writing:
        for number, record in enumerate(inverted):
            datum = caffe_pb2().Datum(channels=4, height=37, width=37, data=record.tobytes())
            writing.put(f"{number:08d}".encode(), datum.SerializeToString())


@pytest.mark.parametrize("model", ["classmate", "dfcnet", "three tasks"])
def test_in_a_joint_batch_neither_tasks_output_depends_on_the_images_beside_it(model, tiny):
    text = tiny.read_text()
    if model == "classmate":
        text = text.replace("[fusion]\nchannels = 4\n", "")
        text = text.replace("decoder_units = [1, 1, 1, 1]", "decoder_units = [1, 1, 1]")
    if model == "three tasks":
        write_lmdb(tiny.parent / "paths_lmdb", "road", 2)
        paths = '[tasks.paths]\ndataset = "deepglobe_road"\nsource = "paths_lmdb"\n'
        text = text.replace("batch_size = 4", "batch_size = 6").replace("[solver]", f"{paths}[solver]")
    tiny.write_text(text)
    exp, folder = read_experiment(tiny), tiny.parent
    train, deploy = build(exp, TRAIN), build(exp, DEPLOY)
    alone = in_caffe(deploy, folder, plain=False)
    settle(alone)
    alone.save(str(folder / "weights"))

    def outputs() -> dict[str, np.ndarray]:
        joint = in_caffe(train, folder, testing=True)
        joint.copy_from(str(folder / "weights"))
        joint.forward()
        return {task: joint.blobs[f"{task}_score"].data.copy() for task in exp.tasks}

    before = outputs()
    invert_images(folder / "road_lmdb")
    after = outputs()
    for task in exp.tasks:
        assert (np.abs(before[task] - after[task]).max() > 1e-3) == (task == "road")
    # And each is what the deploy net answers to the centre of that image alone.
    for task in exp.tasks:
        image = records(folder / f"{task}_lmdb")[1][:3, 2:35, 2:35].astype(np.float32)
        alone.blobs["data"].data[...] = (image - np.float32(exp.input.mean)[:, None, None]) * exp.input.scale
        alone.forward()
        np.testing.assert_allclose(alone.blobs[f"{task}_score"].data[0], after[task][1], rtol=1e-4, atol=1e-4)
