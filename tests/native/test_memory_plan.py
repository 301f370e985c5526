"""Blobs of a TEST net that share memory: the same answers to the bit, and no two live ones in one place."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from prototxt_gen.emit import net_message
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, build
from tests.prototxt_gen.random_net import folded

pytestmark = pytest.mark.caffe
SOLVERS = Path(__file__).parents[2] / "solvers"
SHARING = ("Split", "Flatten", "Reshape")  # layers whose tops have the data of their bottom


@pytest.fixture
def caffe():
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    caffe.set_mode_cpu()
    return caffe


def load(caffe, path: Path, weights=None):
    """Return a net with weights such that values neither grow nor vanish; those of `weights` if given."""
    net = caffe.Net(str(path), caffe.TEST)
    rng = np.random.default_rng(8)
    for name, blobs in net.params.items():
        for number, blob in enumerate(blobs):
            if weights is not None:
                blob.data[...] = weights.params[name][number].data
            elif blob.data.ndim == 4:
                blob.data[...] = rng.normal(size=blob.data.shape) / np.sqrt(np.prod(blob.data.shape[1:]))
            else:  # statistics, counts, scales, biases
                blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)
    return net


def run(net, image: np.ndarray) -> dict[str, bytes]:
    net.blobs["data"].reshape(*image.shape)
    net.blobs["data"].data[...] = image
    return {name: value.tobytes() for name, value in net.forward().items()}


def images(shapes) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def live_blobs(net) -> list[set[str]]:
    """Return for each layer the blobs with values of use: made by it or before, read by it or later."""
    layers = list(net._layer_names)
    made, read = {}, {}
    for number, layer in enumerate(layers):
        for blob in net.top_names[layer]:
            made.setdefault(blob, number)
            read[blob] = number
        for blob in net.bottom_names[layer]:
            read[blob] = number
    for blob in (*net.inputs, *net.outputs):
        made[blob], read[blob] = 0, len(layers)
    return [{b for b in made if made[b] <= number <= read[b]} for number in range(len(layers))]


def origins(net) -> dict[str, str]:
    """Return for each blob the one whose data it has; one image's DenseBlock begins with its input."""
    origin = {}
    for number, name in enumerate(net._layer_names):
        kind = net.layers[number].type
        for top in net.top_names[name]:
            shares = kind in SHARING or (kind == "DenseBlock" and net.blobs[top].num == 1)
            origin.setdefault(top, origin[net.bottom_names[name][0]] if shares else top)
    return origin


def assert_no_live_blobs_overlap(net) -> int:
    """Look at all pairs of blobs at each layer; return how many blobs ever had another's memory."""
    origin = origins(net)
    place = {}
    for name, blob in net.blobs.items():
        start = blob.data.__array_interface__["data"][0]
        place[name] = start, start + blob.data.nbytes
    for live in live_blobs(net):
        for a, b in combinations(sorted(live), 2):
            if origin[a] != origin[b]:
                assert place[a][1] <= place[b][0] or place[b][1] <= place[a][0], (a, b)
    starts = [place[name][0] for name in origin if origin[name] == name]
    return len(starts) - len(set(starts))


def random_net(seed: int) -> str:
    """Return a net of random layers on random earlier blobs, some read often, some in place, some unread."""
    rng = np.random.default_rng(seed)
    shape = "shape { dim: 1 dim: 4 dim: 6 dim: 6 }"
    text = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ {shape} }} }}'
    blobs, read = ["data"], {"data"}
    for number in range(25):
        kind = rng.choice(
            ["Convolution", "ReLU", "Eltwise", "Concat", "Pooling", "Slice", "Flatten", "Scale"]
        )
        a, b = rng.choice(blobs[-6:], 2)
        name, top = f"layer{number}", f"b{number}"
        bottoms, tops, param = [a], [top], ""
        match kind:
            case "Convolution":
                param = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }"
            case "ReLU" if a not in read:
                tops = [a]
            case "Eltwise":
                bottoms = [a, b]
            case "Concat":  # and back to 4 channels
                bottoms = [a, b]
                tops = [f"{top}_wide"]
            case "Pooling":
                param = "pooling_param { kernel_size: 3 stride: 1 pad: 1 }"
            case "Slice":
                param, tops = "slice_param { slice_point: 2 }", [f"{top}_left", f"{top}_right"]
            case "Flatten":
                tops = [f"{top}_flat"]
            case "Scale":
                param = "scale_param { bias_term: true }"
        read |= set(bottoms) - set(tops)
        ends = " ".join([*(f'bottom: "{x}"' for x in bottoms), *(f'top: "{x}"' for x in tops)])
        text += f'\nlayer {{ name: "{name}" type: "{kind}" {ends} {param} }}'
        narrow = (
            'type: "Convolution" bottom: "%s" top: "%s" convolution_param { num_output: 4 kernel_size: 1 }'
        )
        if kind == "Concat":
            text += f'\nlayer {{ name: "{name}_narrow" {narrow % (tops[0], top)} }}'
        if kind == "Slice":
            text += f'\nlayer {{ name: "{name}_narrow" {narrow % (tops[1], top)} }}'
        if kind not in ("ReLU", "Flatten") or (kind == "ReLU" and tops == [top]):
            blobs.append(top)
    return text


@pytest.mark.parametrize("seed", range(12))
def test_a_random_net_answers_alike_at_any_size(tmp_path, caffe, seed):
    (tmp_path / "net.prototxt").write_text(random_net(seed))
    net = load(caffe, tmp_path / "net.prototxt")
    planned = load(caffe, tmp_path / "net.prototxt", net)
    small, whole = planned.plan_memory()
    assert 0 < small <= whole
    for image in images([(1, 4, 6, 6), (2, 4, 9, 5), (1, 4, 3, 3), (1, 4, 6, 6)]):
        assert run(planned, image) == run(net, image)
        assert_no_live_blobs_overlap(planned)


@pytest.mark.parametrize("form", ["plain", "folded", "fused"])
@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_the_papers_nets_answer_alike_in_less_memory(tmp_path, caffe, name, form):
    narrow = [
        "densenet.growth_rate=4",
        "densenet.stem_channels=8",
        "densenet.up_channels=8",
        "head_channels=8",
        f"densenet.dense_block='{'fused' if form == 'fused' else 'plain'}'",
    ]
    exp = read_experiment(SOLVERS / name / "experiment.toml", narrow)
    plain = net_message(build(exp, DEPLOY, crop=33))
    (tmp_path / "net.prototxt").write_text(str(folded(exp, crop=33)[0] if form == "folded" else plain))
    net = load(caffe, tmp_path / "net.prototxt")
    planned = load(caffe, tmp_path / "net.prototxt", net)
    small, whole = planned.plan_memory()
    assert small < whole / (1.3 if form == "fused" else 4)
    for image in images([(1, 3, 65, 65), (2, 3, 33, 33), (1, 3, 33, 33)]):
        assert run(planned, image) == run(net, image)
    assert assert_no_live_blobs_overlap(planned) > (3 if form == "fused" else 10)


def rows_of(net) -> dict[str, int]:
    """Return the height that each blob has now."""
    return {name: blob.height for name, blob in net.blobs.items() if len(blob.shape) == 4}


@pytest.mark.parametrize("form", ["folded", "fused"])
def test_the_end_of_a_net_in_strips_of_rows_answers_as_the_whole_net(tmp_path, caffe, form):
    """Both heads, one and two images, two and three strips, and a net that is too low for strips."""
    narrow = [
        "densenet.growth_rate=4",
        "densenet.stem_channels=8",
        "densenet.up_channels=16",
        "fusion.channels=16",
        "head_channels=16",
        f"densenet.dense_block='{'fused' if form == 'fused' else 'plain'}'",
    ]
    exp = read_experiment(SOLVERS / "dfcnet" / "experiment.toml", narrow)
    plain = net_message(build(exp, DEPLOY, crop=33)) if form == "fused" else folded(exp, crop=33)[0]
    (tmp_path / "net.prototxt").write_text(str(plain))
    net = load(caffe, tmp_path / "net.prototxt")
    strips = load(caffe, tmp_path / "net.prototxt", net)
    strips.plan_memory(whole_bytes=0)
    whole = load(caffe, tmp_path / "net.prototxt", net)
    whole.plan_memory()
    for image in images([(1, 3, 321, 97), (2, 3, 545, 33), (1, 3, 577, 65), (1, 3, 33, 65)]):
        answers = []
        for each in (net, strips, whole):
            run(each, image)
            answers.append({name: each.blobs[name].data.copy() for name in each.outputs})
        assert set(answers[0]) == {"land_prob", "road_prob"}
        for name, expected in answers[0].items():
            np.testing.assert_allclose(answers[1][name], expected, rtol=0, atol=2e-6)
            np.testing.assert_array_equal(answers[2][name], expected)
        tall = image.shape[2] > 300
        assert (rows_of(strips)["land/conv"] < rows_of(net)["land/conv"]) == tall
        assert rows_of(strips)["land_prob"] == image.shape[2]
        assert (strips.plan_memory(0)[0] < whole.plan_memory()[0]) == tall


def test_what_is_put_together_from_strips_is_right_at_every_seam(tmp_path, caffe):
    """3x3 sums of ones, enlarged and summed once more, by NumPy: a row that misses a neighbour is lower."""
    height, ones = 121, 'weight_filler { type: "constant" value: 1 }'
    layers = [
        ("a", "Power", "data", "power_param { shift: 0 }"),
        ("b", "Convolution", "a", f"convolution_param {{ num_output: 1 kernel_size: 3 pad: 1 {ones} }}"),
        ("c", "Interp", "b", "interp_param { zoom_factor: 2 }"),
        ("d", "Convolution", "c", f"convolution_param {{ num_output: 1 kernel_size: 3 pad: 1 {ones} }}"),
    ]
    shape = f"shape {{ dim: 1 dim: 1 dim: {height} dim: 7 }}"
    text = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ {shape} }} }}\n'
    for top, kind, bottom, param in layers:
        text += f'layer {{ name: "{top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {param} }}\n'
    (tmp_path / "net.prototxt").write_text(text)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    net.plan_memory(whole_bytes=0)
    (image,) = images([(1, 1, height, 7)])
    run(net, image)
    assert rows_of(net)["c"] < 2 * height - 1

    def summed(x):  # of 3 x 3 around each
        y = np.pad(x, 1)
        return sum(y[i : i + x.shape[0], j : j + x.shape[1]] for i in range(3) for j in range(3))

    def enlarged(x):  # along the first axis
        y = np.empty((2 * len(x) - 1, x.shape[1]))
        y[::2], y[1::2] = x, (x[:-1] + x[1:]) / 2
        return y

    expected = summed(enlarged(enlarged(summed(image[0, 0].astype(float))).T).T)
    np.testing.assert_allclose(net.blobs["d"].data[0, 0], expected, rtol=0, atol=1e-4)


def test_a_net_that_has_run_already_gives_its_memory_back(tmp_path, caffe):
    """Blobs of 64 MB, one behind the other: two of them are needed at once, and the output."""
    import subprocess
    import sys

    chain = "".join(
        f'layer {{ name: "{b}" type: "Power" bottom: "{a}" top: "{b}" power_param {{ shift: 1 }} }}\n'
        for a, b in zip(["data", *"abcdefghij"], "abcdefghijk", strict=True)
    )
    shape = "dim: 1 dim: 1 dim: 4096 dim: 4096"
    (tmp_path / "net.prototxt").write_text(
        f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {shape} }} }} }}\n{chain}'
    )
    code = f"""
from training.pycaffe import import_caffe
caffe = import_caffe()
net = caffe.Net({str(tmp_path / "net.prototxt")!r}, caffe.TEST)
net.forward()
print(net.plan_memory())
net.forward()
assert (net.blobs["k"].data == 11).all()
status = open("/proc/self/status").read()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SOLVERS.parent
    )
    plan, resident = done.stdout.splitlines()
    assert plan == f"({4 * 2**26}, {12 * 2**26})"  # input, output, and room for two of the ten between
    assert int(resident) < 5 * 2**16 + 200_000


def test_what_would_read_values_that_are_gone_raises(tmp_path, caffe):
    (tmp_path / "net.prototxt").write_text(random_net(1))
    with pytest.raises(RuntimeError, match="only a net of the TEST phase"):
        caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN).plan_memory()
    net = load(caffe, tmp_path / "net.prototxt")
    net.plan_memory()
    net.forward()
    with pytest.raises(RuntimeError, match="forward must begin with the first layer"):
        net.forward(start="layer3")
    with pytest.raises(RuntimeError, match="no backward pass"):
        net.backward()


def test_without_a_plan_every_blob_can_be_read(tmp_path, caffe):
    (tmp_path / "net.prototxt").write_text(random_net(2))
    net = load(caffe, tmp_path / "net.prototxt")
    assert assert_no_live_blobs_overlap(net) == 0


BLOCK = """
layer {{ name: "dense_block{n}" type: "DenseBlock" bottom: "{bottom}" top: "{top}"
        dense_block_param {{ num_units: 2 growth_rate: 3 bottleneck: 6 }} }}"""
CONVOLUTION = """
layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}"
        convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}"""
INPUT = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 4 dim: 6 dim: 6 } } }"""


@pytest.mark.parametrize(
    "layers",
    [
        [BLOCK.format(n=1, bottom="x", top="a"), BLOCK.format(n=2, bottom="a", top="b")],
        # Two blocks begin with the same features: only one of them can begin in their place.
        [
            BLOCK.format(n=1, bottom="x", top="a"),
            BLOCK.format(n=2, bottom="x", top="c"),
            'layer { name: "b" type: "Eltwise" bottom: "a" bottom: "c" top: "b" }',
        ],
        [BLOCK.format(n=1, bottom="x", top="b")],
        [BLOCK.format(n=1, bottom="data", top="b")],
    ],
    ids=["chain", "fork", "one", "on the input"],
)
@pytest.mark.parametrize("end", ["output", "read"])
def test_dense_blocks_answer_alike_for_one_image_and_for_several(tmp_path, caffe, layers, end):
    text = INPUT + CONVOLUTION.format(bottom="data", top="x") + "".join(layers)
    text += CONVOLUTION.format(bottom="b", top="y") if end == "read" else ""
    (tmp_path / "net.prototxt").write_text(text)
    net = load(caffe, tmp_path / "net.prototxt")
    planned = load(caffe, tmp_path / "net.prototxt", net)
    planned.plan_memory()
    shapes = [(1, 4, 6, 6), (2, 4, 9, 5), (1, 4, 6, 6), (3, 4, 4, 4), (1, 4, 9, 9)]
    shapes += [(2, 4, 90, 90), (1, 4, 6, 6), (1, 4, 90, 90)]  # back to what a blob once had room for
    for image in images(shapes):
        assert run(planned, image) == run(net, image)
        assert run(planned, image) == run(net, image)
