"""Our fused layers against Caffe's plain ones, built beside them with the same weights.

Outputs and gradients may differ by 1e-4 of the largest value: the sums are the same, their order is not.
Sizes are small, since a value within rounding of a ReLU's bend may fall on either side in the two forms.
"""

import ctypes
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from prototxt_gen import blocks
from prototxt_gen.emit import net_text
from prototxt_gen.experiment import DenseNet, read_experiment
from prototxt_gen.fuse import fuse
from prototxt_gen.fused_weights import plain_view
from prototxt_gen.layers import Blob, Net
from prototxt_gen.models import DEPLOY, build
from tests.conftest import write_lmdb

pytestmark = pytest.mark.caffe

TOLERANCE = 1e-4  # of the largest value
FUSED = "densenet.dense_block='fused'"
WIDTHS = ("densenet.stem_channels", "densenet.up_channels", "head_channels", "fusion.channels")


@dataclass
class Form:
    """A net in Caffe; its last top is the output."""

    net: object

    def __post_init__(self) -> None:
        self.weights = plain_view({name: list(blobs) for name, blobs in self.net.params.items()})
        self.output = list(self.net.blobs)[-1]


def form(tmp_path: Path, net: Net, train: bool) -> Form:
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    path = tmp_path / f"{'plain' if net.plain is net else 'fused'}.prototxt"
    path.write_text("force_backward: true\n" + net_text(net, ["x"]))
    return Form(caffe.Net(str(path), caffe.TRAIN if train else caffe.TEST))


def both_forms(
    tmp_path: Path, phase: str, inputs, build_top, seed: int, keep: bool = False
) -> tuple[Form, Form]:
    """Return (plain, fused) with equal random weights and inputs; `build_top` adds the layers to a net."""
    net = Net("x", phase)
    net.section("All")
    build_top(net, [net.input(f"x{i}", (n, c, 33, 33)) for i, (n, c, _, _) in enumerate(inputs)])
    pair = []
    for one in (net, fuse(net, keep)):
        pair.append(form(tmp_path, one, phase == "train"))
        reshape(pair[-1], inputs)  # the generator knows squares alone
    fill(pair, np.random.default_rng(seed))
    return pair[0], pair[1]


def reshape(one: Form, inputs) -> None:
    for name, shape in zip(one.net.inputs, inputs, strict=True):
        one.net.blobs[name].reshape(*shape)
    one.net.reshape()


def fill(pair, rng: np.random.Generator) -> None:
    plain, fused = pair
    assert list(plain.weights) and set(plain.weights) == set(fused.weights)
    for name, blobs in plain.weights.items():
        for number, blob in enumerate(blobs):
            shape = blob.data.shape
            if len(shape) == 4:
                values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
            elif name.endswith("/bn"):  # mean, variance, weight of both
                values = rng.normal(0, 0.5, shape) if number == 0 else rng.uniform(0.5, 1.5, shape)
            else:  # gamma, beta
                values = rng.uniform(0.5, 1.5, shape) if number == 0 else rng.normal(0, 0.3, shape)
            blob.data[...] = values
            fused.weights[name][number].data[...] = values
    for name in plain.net.inputs:
        plain.net.blobs[name].data[...] = rng.normal(size=plain.net.blobs[name].data.shape)
        fused.net.blobs[name].data[...] = plain.net.blobs[name].data


def assert_close(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    largest = np.abs(expected).max()
    assert largest > 0, f"{what}: nothing to compare"
    assert np.abs(actual - expected).max() <= TOLERANCE * largest, what


def assert_same_passes(plain: Form, fused: Form, passes: int = 1) -> None:
    """Compare output, statistics and all gradients, added up over `passes` passes."""
    rng = np.random.default_rng(9)
    for _ in range(passes):
        gradient = rng.normal(size=plain.net.blobs[plain.output].data.shape)
        for one in (plain, fused):
            one.net.forward()
            one.net.blobs[one.output].diff[...] = gradient
            one.net.backward()
        assert_close(fused.net.blobs[fused.output].data, plain.net.blobs[plain.output].data, "output")
        for name in plain.net.inputs:
            assert_close(fused.net.blobs[name].diff, plain.net.blobs[name].diff, f"gradient of {name}")
    for name, blobs in plain.weights.items():
        for number, blob in enumerate(blobs):
            other = fused.weights[name][number]
            if name.endswith("/bn"):
                assert_close(other.data, blob.data, f"statistic {number} of {name}")
            else:
                assert_close(other.diff, blob.diff, f"gradient {number} of {name}")


def architecture(growth: int, bottleneck: int, **more) -> DenseNet:
    units = {"encoder_units": (1,) * 4, "decoder_units": (1,) * 4}
    sizes = {"stem_channels": 4, "growth_rate": growth, "bottleneck": bottleneck}
    return DenseNet(**units, **sizes, compression=0.5, up_channels=4, bn_moving_average=0.9, **more)


BLOCKS = [  # units, growth, bottleneck in growths, inputs
    (1, 1, 2, [(1, 2, 1, 6)]),
    (2, 3, 2, [(1, 5, 1, 9)]),
    (3, 4, 2, [(2, 5, 7, 9)]),
    (3, 32, 4, [(1, 16, 17, 17)]),
    (2, 16, 4, [(2, 16, 9, 33), (2, 7, 9, 33)]),
    (2, 8, 4, [(3, 1, 5, 6), (3, 2, 5, 6), (3, 3, 5, 6)]),
    (4, 6, 3, [(1, 11, 33, 5)]),
]


def dense_block(units: int, arch: DenseNet):
    return lambda net, xs: blocks.dense_block(net, 2, blocks.join(net, 2, xs), units, arch)


@pytest.mark.parametrize("keep", [False, True], ids=["computed again", "kept"])
@pytest.mark.parametrize("frozen", [False, True], ids=["batch statistics", "frozen"])
@pytest.mark.parametrize(("units", "growth", "bottleneck", "inputs"), BLOCKS)
def test_a_dense_block_trains_as_the_plain_layers(tmp_path, units, growth, bottleneck, inputs, frozen, keep):
    arch = architecture(growth, bottleneck, bn_frozen=frozen)
    pair = both_forms(tmp_path, "train", inputs, dense_block(units, arch), seed=units, keep=keep)
    assert_same_passes(*pair, passes=2)


@pytest.mark.parametrize(("units", "growth", "bottleneck", "inputs"), BLOCKS)
def test_a_dense_block_predicts_as_the_plain_layers(tmp_path, units, growth, bottleneck, inputs):
    make = dense_block(units, architecture(growth, bottleneck))
    plain, fused = both_forms(tmp_path, "deploy", inputs, make, seed=units)
    for side in (9, 40, 33):  # to other sizes, and back to smaller
        for one in (plain, fused):
            reshape(one, [(*shape[:2], side, side + 3) for shape in inputs])
        fill((plain, fused), np.random.default_rng(side))
        for one in (plain, fused):
            one.net.forward()
        assert_close(fused.net.blobs[fused.output].data, plain.net.blobs[plain.output].data, f"side {side}")


@pytest.fixture
def set_threads():
    """Return a function that sets OpenMP's threads, and in how many levels of regions, for this test."""
    openmp = ctypes.CDLL("libgomp.so.1")
    before = openmp.omp_get_max_threads(), openmp.omp_get_max_active_levels()

    def set_both(threads: int, levels: int) -> None:
        openmp.omp_set_num_threads(threads)
        openmp.omp_set_max_active_levels(levels)

    yield set_both
    set_both(*before)


@pytest.mark.parametrize("growth", [16, 32], ids=["direct", "Winograd"])
def test_strips_of_large_images_meet_without_a_seam(tmp_path, set_threads, growth):
    """Strips of 4 to 20 of 61 rows: shared by the threads, or apart, where the threads also race for them."""
    make = dense_block(2, architecture(growth, 4))
    plain, fused = both_forms(tmp_path, "deploy", [(2, 3, 61, 257)], make, seed=1)
    plain.net.forward()
    for threads, levels in ((1, 1), (2, 1), (3, 1), (3, 2)):
        set_threads(threads, levels)
        answers = []
        for _ in range(3):
            fused.net.blobs[fused.output].data[...] = np.nan
            fused.net.forward()
            answers.append(fused.net.blobs[fused.output].data.copy())
        assert_close(answers[0], plain.net.blobs[plain.output].data, f"{threads} threads")
        assert all(np.array_equal(answers[0], answer) for answer in answers[1:])


@pytest.mark.parametrize("frozen", [False, True], ids=["batch statistics", "frozen"])
@pytest.mark.parametrize("shape", [(1, 3, 1, 6), (2, 5, 9, 7), (1, 70, 33, 17)])
def test_an_activated_1x1_convolution_trains_as_the_plain_layers(tmp_path, shape, frozen):
    arch = architecture(4, 2, bn_frozen=frozen)
    pair = both_forms(tmp_path, "train", [shape], lambda net, xs: blocks.transition(net, 2, *xs, 6, arch), 3)
    assert_same_passes(*pair, passes=2)


@pytest.mark.parametrize("frozen", [False, True], ids=["batch statistics", "frozen"])
def test_a_stem_and_a_head_train_as_the_plain_layers(tmp_path, frozen):
    arch = architecture(4, 2, bn_frozen=frozen)

    def stem_and_head(net: Net, xs: list[Blob]) -> None:
        blocks.task_head(net, "land", blocks.stem(net, *xs, arch), 6, 33, 5, arch)

    assert_same_passes(*both_forms(tmp_path, "train", [(2, 3, 33, 33)], stem_and_head, 5), passes=2)


@pytest.mark.parametrize("model", ["baseline", "classmate", "dfcnet"])
def test_whole_nets_predict_alike_in_both_forms(tmp_path, model):
    small = [
        "input.crop=65",
        "densenet.stem_channels=8",
        "densenet.growth_rate=4",
        "densenet.up_channels=16",
        "head_channels=8",
    ]
    path = Path(__file__).parents[2] / "solvers" / model / "experiment.toml"
    nets = [build(read_experiment(path, [*small, *more]), DEPLOY) for more in ([], [FUSED])]
    pair = [form(tmp_path, net, False) for net in nets]
    fill(pair, np.random.default_rng(3))
    plain, fused = (one.net.forward() for one in pair)
    assert plain and set(plain) == set(fused)
    for name in plain:
        np.testing.assert_allclose(fused[name], plain[name], atol=1e-4)


def test_bfloat16_rounds_no_more_than_its_8_bits(tmp_path):
    """Relative to the largest value; a 1x1 and a 3x3 convolution with inputs rounded to 2^-9 each."""
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    make = dense_block(2, architecture(16, 4))
    plain, fused = both_forms(tmp_path, "deploy", [(1, 24, 61, 129)], make, seed=1)
    try:
        if not caffe.set_prediction_bf16(True):
            pytest.skip("this CPU has no bfloat16")
        fused.net.forward()
    finally:
        caffe.set_prediction_bf16(False)
    plain.net.forward()
    expected = plain.net.blobs[plain.output].data
    error = np.abs(fused.net.blobs[fused.output].data - expected).max() / np.abs(expected).max()
    assert 1e-5 < error < 1e-2


def test_50_iterations_of_training_give_the_same_losses_in_both_forms(tiny, run_tool):
    """From the same weights, by Caffe's own solver.

    Rounding grows as training goes on: at the paper's rate of 0.001 weights that differ by 1e-7 make a loss
    of the plain net differ by 1e-3 after 10 iterations, by 3e-2 after 30. At a tenth of it, by 8e-5 after 50.
    """
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    (tiny.parent / "runs").mkdir()
    for task, classes in (("land", 6), ("road", 2)):
        shutil.rmtree(tiny.parent / f"{task}_lmdb")
        write_lmdb(tiny.parent / f"{task}_lmdb", task, classes, side=99)
    settings = ["input.crop=97", "solver.base_lr=0.0001", "solver.max_iter=50", "solver.snapshot=50"]
    settings += ["densenet.growth_rate=8", *(f"{key}=16" for key in WIDTHS)]
    options = ["--cpu", *(word for setting in settings for word in ("--set", setting))]
    losses, weights = [], None
    for name in ("plain", "fused"):
        out = tiny.parent / name
        done = run_tool("make_net.py", tiny, *options, "--out", out, "--dense-block", name, cwd=tiny.parent)
        assert done.returncode == 0, done.stderr
        solver = caffe.SGDSolver(str(out / "solver.prototxt"))
        own = plain_view({layer: list(blobs) for layer, blobs in solver.net.params.items()})
        if weights is None:
            weights = {layer: [blob.data.copy() for blob in blobs] for layer, blobs in own.items()}
        for layer, blobs in own.items():
            for blob, values in zip(blobs, weights[layer], strict=True):
                blob.data[...] = values
        losses.append([])
        for _ in range(50):
            solver.step(1)
            losses[-1].append([float(solver.net.blobs[f"{task}_loss"].data) for task in ("land", "road")])
    plain, fused = np.array(losses)
    assert plain[-5:].mean() < 0.9 * plain[:5].mean(), "nothing was learnt"
    np.testing.assert_allclose(fused, plain, rtol=1e-3)
