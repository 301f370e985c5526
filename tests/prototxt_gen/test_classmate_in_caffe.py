"""Several tasks in one net: each loss teaches the shared layers and its own, and weighs classes as told."""

import json
from pathlib import Path

import numpy as np
import pytest

from prototxt_gen.emit import net_message, write_nets
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import TRAIN, build
from prototxt_gen.prototxt import fed_by_caller, net_outputs, read_net
from tests.conftest import TINY, write_lmdb

pytestmark = pytest.mark.caffe
WEIGHTS = [0.5, 1.0, 2.0, 4.0, 0.25, 8.0]


def train_net(tmp_path: Path, *settings: str):
    from training.pycaffe import import_caffe

    for task, classes in (("land", 6), ("road", 2)):
        write_lmdb(tmp_path / task, task, classes)
    (tmp_path / "tiny.toml").write_text(TINY)
    sources = [f"tasks.{task}.source='{tmp_path}/{task}'" for task in ("land", "road")]
    exp = read_experiment(tmp_path / "tiny.toml", [*sources, *settings])
    write_nets(exp, tmp_path / "nets", overwrite=False)
    caffe = import_caffe()
    caffe.set_mode_cpu()
    caffe.set_random_seed(5)
    return caffe.Net(str(tmp_path / "nets" / "train.prototxt"), caffe.TRAIN)


def touched(net, silent: str) -> dict[str, float]:
    """Return the largest gradient of each layer when the loss of the task `silent` is left out."""
    net.forward()
    net.blobs[f"{silent}_loss"].diff[...] = 0
    net.backward()
    learnt = {name: blobs for name, blobs in net.params.items() if not name.endswith("/bn")}
    return {name: max(np.abs(blob.diff).max() for blob in blobs) for name, blobs in learnt.items()}


@pytest.mark.parametrize(("task", "other"), [("land", "road"), ("road", "land")])
def test_a_tasks_loss_reaches_every_shared_layer_and_none_of_the_other_task(tmp_path, task, other):
    gradients = touched(train_net(tmp_path), silent=other)
    for name, gradient in gradients.items():
        assert (gradient > 0) == (not name.startswith(f"{other}/")), name
    assert any(name.startswith(f"{task}/") for name in gradients)
    assert {"conv1", "conv9_1/x2", "fusion2", "fusion9"} <= set(gradients)


THREE = ("land", "road", "buildings")


@pytest.fixture
def three(tmp_path):
    """Return a train net of three tasks, fed with random images and labels."""
    from training.pycaffe import import_caffe

    (tmp_path / "tiny.toml").write_text(TINY)
    added = ["tasks.buildings={dataset='deepglobe_road', source='b'}", "solver.batch_size=6"]
    exp = read_experiment(tmp_path / "tiny.toml", added)
    (tmp_path / "train.prototxt").write_text(str(fed_by_caller(net_message(build(exp, TRAIN)))))
    caffe = import_caffe()
    caffe.set_mode_cpu()
    caffe.set_random_seed(5)
    net = caffe.Net(str(tmp_path / "train.prototxt"), caffe.TRAIN)
    rng = np.random.default_rng(8)
    for task, settings in exp.tasks.items():
        records = net.blobs[f"{task}_data"].data
        records[...] = rng.uniform(-120, 140, records.shape)
        records[:, 3] = rng.integers(0, settings.classes, records[:, 3].shape)
    return net


def gradients(net, *tasks: str) -> dict[str, np.ndarray]:
    """Return the gradient of each layer's first learnt blob by the losses of some tasks alone."""
    net.clear_param_diffs()
    net.forward()
    for task in THREE:
        net.blobs[f"{task}_loss"].diff[...] = task in tasks
    net.backward()
    return {name: blobs[0].diff.copy() for name, blobs in net.params.items() if not name.endswith("/bn")}


def test_three_tasks_learn_together_and_gradients_stay_with_their_task(three):
    """The losses are added: so are their gradients in the trunk, and a head has that of its own task."""
    joint, alone = gradients(three, *THREE), {task: gradients(three, task) for task in THREE}
    assert len({blob.tobytes() for blob in (joint["conv1"], *(alone[task]["conv1"] for task in THREE))}) == 4
    largest = max(np.abs(gradient).max() for gradient in joint.values())
    for name, gradient in joint.items():
        parts = [alone[task][name] for task in THREE]
        np.testing.assert_allclose(sum(parts), gradient, rtol=1e-3, atol=1e-5 * largest)
        owner = name.split("/")[0]
        reached = [bool(part.any()) for part in parts]
        assert reached == [owner not in THREE or owner == task for task in THREE], name


def test_each_of_three_tasks_is_scored_on_its_own_images_and_labels(three):
    """The loss by hand, from a task's scores and the labels of its records."""
    three.forward()
    for task in THREE:
        label = three.blobs[f"{task}_data"].data[:, 3].astype(int)
        score = three.blobs[f"{task}_score"].data.astype(np.float64)
        log_prob = score - np.log(np.exp(score).sum(axis=1, keepdims=True))
        expected = -np.take_along_axis(log_prob, label[:, None], axis=1).mean()
        assert float(three.blobs[f"{task}_loss"].data) == pytest.approx(expected, rel=1e-4)


def test_the_command_trains_three_tasks(tmp_path, run_tool):
    for task, like, classes in (("land", "land", 6), ("road", "road", 2), ("buildings", "road", 2)):
        write_lmdb(tmp_path / f"{task}_lmdb", like, classes)
    (tmp_path / "tiny.toml").write_text(TINY)
    added = ["tasks.buildings={dataset='deepglobe_road', source='buildings_lmdb'}", "solver.batch_size=6"]
    options = [word for setting in added for word in ("--set", setting)]
    done = run_tool("train.py", "tiny.toml", "--cpu", "--run", "run", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    entries = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    losses = [entry["loss"] for entry in entries if "loss" in entry]
    assert [set(loss) for loss in losses] == [set(THREE)] * 3
    assert net_outputs(read_net(tmp_path / "run" / "deploy.prototxt")) == tuple(f"{x}_prob" for x in THREE)


def test_class_weights_multiply_each_pixels_term(tmp_path):
    net = train_net(tmp_path, f"tasks.land.class_weights={WEIGHTS}")
    net.forward()
    score = net.blobs["land_score"].data.astype(np.float64)
    label = net.blobs["land_label"].data[:, 0].astype(int)
    log_prob = score - np.log(np.exp(score).sum(axis=1, keepdims=True))
    scored = label != 255
    terms = np.take_along_axis(log_prob, np.where(scored, label, 0)[:, None], axis=1)[:, 0]
    expected = -(np.array(WEIGHTS)[np.where(scored, label, 0)] * terms)[scored].mean()
    assert float(net.blobs["land_loss"].data) == pytest.approx(expected, rel=1e-4)


def test_multipliers_reach_caffe_and_spare_the_statistics(tmp_path):
    net = train_net(tmp_path, "multipliers=[{layers='conv[1-5]*', lr=0.1, decay=0.0}]")
    assert net is not None
    for layer in read_net(tmp_path / "nets" / "train.prototxt").layer:
        mult = [(round(param.lr_mult, 6), param.decay_mult) for param in layer.param]
        if layer.type == "BatchNorm":
            assert mult == [(0, 0)] * 3
        elif layer.name in ("conv1", "conv4_1/x2", "conv5_blk"):
            assert mult == [(0.1, 0)]
        elif layer.name == "conv2_1/x1/scale":
            assert mult == [(0.1, 0)] * 2
        else:
            assert not layer.name.startswith(("conv6", "land", "fusion")) or mult == []


def test_frozen_statistics_stay_as_they_are(tmp_path):
    for frozen in (True, False):
        folder = tmp_path / str(frozen)
        folder.mkdir()
        net = train_net(folder, f"densenet.bn_frozen={str(frozen).lower()}")
        before = net.params["conv1/bn"][0].data.copy()
        net.forward()
        assert np.array_equal(before, net.params["conv1/bn"][0].data) == frozen
