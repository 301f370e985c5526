"""Costs against hand counts, and memory against what Caffe's process really takes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prototxt_gen.cost import THREADS, beside_blobs, layer_costs, process_bytes, shared_scratch
from prototxt_gen.experiment import read_experiment
from prototxt_gen.layers import Net
from prototxt_gen.models import DEPLOY, TRAIN, build
from prototxt_gen.summary import summary

ROOT = Path(__file__).parents[2]
SOLVERS = ROOT / "solvers"


def test_a_convolution_counted_by_hand():
    net = Net("one", "deploy")
    net.section("all")
    x = net.input("data", (1, 3, 9, 9))
    net.convolution("c", x, channels=5, kernel=3, pad=1, stride=2, bias=True)
    cost = layer_costs(net)["c"]
    assert cost.parameters == 5 * 3 * 3 * 3 + 5
    assert cost.multiply_adds == 5 * 5 * 5 * 27  # 5 x 5 positions, 5 channels, 27 products each
    assert cost.deploy_bytes == 4 * 5 * 5 * 5


def test_batchnorm_scale_and_a_split_counted_by_hand():
    net = Net("one", "train")
    net.section("all")
    data = net.input("data", (2, 1, 4, 4))
    x = net.convolution("c", data, channels=3, kernel=1)
    y = net.scale("s", net.batch_norm("bn", x, in_place=False))
    net.eltwise_sum("sum", [x, y])
    costs = layer_costs(net)
    size = 2 * 3 * 4 * 4
    assert costs["data"].training_bytes == 4 * 2 * 16  # no gradient of images
    assert costs["c"].training_bytes == 4 * (2 * size + 2 * size)  # data, diff; two readers: two more diffs
    assert costs["bn"].training_bytes == 4 * (2 * size + 2 * size)  # data, diff, temp_, x_norm_
    assert costs["s"].training_bytes == 4 * size  # temp_
    assert costs["sum"].deploy_bytes == 4 * size


def test_the_encoder_has_the_cost_of_densenet_121():
    """Parameters as published; multiply-adds counted here unit by unit, at crop 225."""
    net = build(read_experiment(SOLVERS / "baseline" / "experiment.toml"), DEPLOY, crop=225)
    costs = layer_costs(net)
    encoder = [
        layer.name
        for layer in net.layers
        if layer.name.startswith(("conv1", "conv2", "conv3", "conv4", "conv5")) and layer.name != "conv5_blk"
    ]
    expected, channels = 113**2 * 7 * 7 * 3 * 64, 64
    for units, size in ((6, 57), (12, 29), (24, 15), (16, 8)):
        for _ in range(units):
            expected += size**2 * (channels * 128 + 128 * 9 * 32)
            channels += 32
        if size != 8:
            expected += size**2 * channels * (channels // 2)
            channels //= 2
    assert sum(costs[name].multiply_adds for name in encoder) == expected
    parameters = sum(costs[name].parameters for name in encoder)
    statistics = sum(
        sum(shape[0] for shape in layer.params)
        for layer in net.layers
        if layer.name in encoder and layer.type == "BatchNorm"
    )
    assert (
        parameters - statistics == 7978856 - 1024 * 1000 - 1000
    )  # torchvision's DenseNet-121 less its classifier


@pytest.mark.caffe
@pytest.mark.onednn
@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_memory_is_that_of_caffes_process(tmp_path, phase, form):
    from prototxt_gen.emit import net_text
    from tests.conftest import write_lmdb

    # So large that what does not grow with the image, some 30 MB, matters little.
    train, deploy = {"plain": (129, 513), "fused": (257, 1025)}[form]
    sets = [
        f"densenet.dense_block='{form}'",
        f"input.crop={train}",
        "solver.images_per_pass=2",
        "solver.batch_size=4",
    ]
    for task, classes in (("land", 6), ("road", 2)):
        write_lmdb(tmp_path / task, task, classes, side=train, records=2)
        sets.append(f"tasks.{task}.source='{tmp_path}/{task}'")
    exp = read_experiment(SOLVERS / "dfcnet_demo" / "experiment.toml", sets)
    net = build(exp, TRAIN if phase == "TRAIN" else DEPLOY, crop=None if phase == "TRAIN" else deploy)
    (tmp_path / "net.prototxt").write_text(net_text(net, ["x"]))
    code = f"""
from training.pycaffe import import_caffe
from pathlib import Path
caffe = import_caffe()
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
net = caffe.Net("{tmp_path}/net.prototxt", caffe.{phase})
before = resident()
net.forward()
if "{phase}" == "TRAIN":
    net.backward()
print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    costs = layer_costs(net).values()
    if phase == "TRAIN":
        predicted = sum(cost.training_bytes for cost in costs) + shared_scratch(net)
    else:
        predicted = sum(cost.deploy_bytes for cost in costs)
    assert int(done.stdout) == pytest.approx(predicted, rel=0.12)


@pytest.mark.caffe
@pytest.mark.onednn
@pytest.mark.parametrize(
    ("form", "crop", "images"), [("plain", 129, 2), ("fused", 257, 2), ("fused", 129, 1)]
)
def test_a_training_process_takes_what_the_summary_says(tmp_path, form, crop, images):
    from prototxt_gen.emit import net_text
    from tests.conftest import write_lmdb

    sets = [
        f"densenet.dense_block='{form}'",
        f"input.crop={crop}",
        f"solver.images_per_pass={images}",
        f"solver.batch_size={2 * images}",
    ]
    for task, classes in (("land", 6), ("road", 2)):
        write_lmdb(tmp_path / task, task, classes, side=crop, records=2)
        sets.append(f"tasks.{task}.source='{tmp_path}/{task}'")
    exp = read_experiment(SOLVERS / "dfcnet_demo" / "experiment.toml", sets)
    net = build(exp, TRAIN)
    (tmp_path / "net.prototxt").write_text(net_text(net, ["x"]))
    solver = f'net: "{tmp_path}/net.prototxt" base_lr: 0.001 momentum: 0.9 lr_policy: "fixed" snapshot: 0'
    (tmp_path / "solver.prototxt").write_text(solver)
    code = f"""
import re
import training.rank
from training.pycaffe import import_caffe
import_caffe().SGDSolver("{tmp_path}/solver.prototxt").step(2)
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]))
"""
    threads = {"OMP_NUM_THREADS": str(THREADS), "OPENBLAS_NUM_THREADS": str(THREADS)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        env=os.environ | threads,
    )
    assert int(done.stdout) == pytest.approx(process_bytes(net, history=1), rel=0.12)


def test_what_stands_beside_the_blobs_counted_by_hand():
    net = Net("x", "train")
    net.section("all")
    x = net.input("data", (1, 64, 9, 9))
    x = net.convolution("a", x, 32, kernel=3, pad=1)
    net.convolution("b", x, 16, kernel=1)
    filters = 32 * 64 * 9
    trained, deployed = beside_blobs(net, 2), beside_blobs(net)
    assert trained["Weights, gradients, momentum"] == 4 * 4 * (filters + 16 * 32)
    assert deployed["Weights"] == 4 * (filters + 16 * 32)
    # Transformed filters for the output, its gradient, and two threads' sums; 36 values of 9.
    assert trained["Winograd's algorithm"] == 2 * 10 * 2**20 + 4 * 4 * filters * 4
    assert deployed["Winograd's algorithm"] == 2 * 10 * 2**20 + 4 * 4 * filters


def test_the_summary_names_each_part_and_adds_up():
    exp = read_experiment(SOLVERS / "dfcnet" / "experiment.toml")
    train, deploy = build(exp, TRAIN), build(exp, DEPLOY)
    lines = summary(train, deploy).splitlines()
    for part in (
        "Stem",
        "DenseBlock 2",
        "DenseBlock 9",
        "Transition up 8 -> 9",
        "Dense fusion",
        "Head of the road",
    ):
        assert any(line.startswith(part) for line in lines), part
    cells = [re.split(r"\s{2,}", line) for line in lines if not line.startswith("-")]
    assert cells[0] == ["part", "output", "parameters", "GMAC", "train MiB", "deploy MiB"]
    columns = [[float(row[column].replace(",", "")) for row in cells[1:]] for column in (-4, -3, -2, -1)]
    assert columns[0][-1] == 20460970
    for *parts, total in columns:
        assert sum(parts) == pytest.approx(total, rel=1e-3)
