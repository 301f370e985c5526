"""Prototxt text: what protobuf reads is what was built, and what it cannot read is refused."""

import re
import shutil
from pathlib import Path

import jinja2
import pytest

import common.templates
from common.errors import ExperimentError, NetError, OutputError
from prototxt_gen.emit import Command, header, net_text, solver_text, write_nets
from prototxt_gen.experiment import Experiment, read_experiment
from prototxt_gen.layers import Net
from prototxt_gen.models import DEPLOY, TRAIN, build

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in (ROOT / "solvers").glob("*/experiment.toml"))


def experiment(name: str, **solver: object) -> Experiment:
    """Return a committed experiment with other settings of its solver."""
    exp = read_experiment(ROOT / "solvers" / name / "experiment.toml")
    return exp.model_copy(update={"solver": exp.solver.model_copy(update=solver)})


def parsed(text: str, message: str = "NetParameter"):
    from google.protobuf import text_format

    from prototxt_gen.caffe_proto import caffe_pb2

    return text_format.Parse(text, getattr(caffe_pb2(), message)())


def solver_fields(exp: Experiment, ranks: int | None = None) -> dict[str, str]:
    """Return a solver's fields as text, read line by line."""
    text = solver_text(exp, "net.prototxt", "runs/x", "GPU", ["A solver."], ranks)
    assert text.startswith("# A solver.\n\n")
    return dict(line.split(": ") for line in text.splitlines() if ": " in line)


@pytest.mark.caffe
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
def test_protobuf_reads_the_layers_that_were_built(name, phase):
    net = build(experiment(name), phase)
    read = parsed(net_text(net, ["one", "two"]))
    assert read.name == name
    assert [(layer.name, layer.type, tuple(layer.bottom), tuple(layer.top)) for layer in read.layer] == [
        (
            layer.name,
            layer.type,
            tuple(x.name for x in layer.bottoms),
            tuple(x.name for x in layer.tops),
        )
        for layer in net.layers
    ]


@pytest.mark.caffe
def test_protobuf_reads_the_fields_of_the_papers_net():
    net = parsed(net_text(build(experiment("dfcnet"), TRAIN), []))
    layers = {layer.name: layer for layer in net.layer}
    data = layers["road_data"]
    assert data.data_param.source == "data/road_train_lmdb"
    assert (data.data_param.batch_size, data.data_param.backend) == (1, data.data_param.LMDB)
    assert (data.transform_param.crop_size, data.transform_param.mirror) == (1025, True)
    assert data.transform_param.scale == 1  # the label must not be scaled
    assert list(data.transform_param.mean_value) == pytest.approx([103.94, 116.78, 123.68, 0])
    assert (layers["road_slice"].slice_param.axis, list(layers["road_slice"].slice_param.slice_point)) == (
        1,
        [3],
    )
    assert layers["classmate_concat"].concat_param.axis == 0
    assert layers["data/scale"].power_param.scale == pytest.approx(0.017)
    conv1 = layers["conv1"].convolution_param
    assert (conv1.num_output, *conv1.kernel_size, *conv1.pad, *conv1.stride) == (64, 7, 3, 2)
    assert (conv1.bias_term, conv1.weight_filler.type) == (False, "msra")
    assert layers["conv1/bn"].batch_norm_param.eps == pytest.approx(1e-5)
    assert layers["conv1/bn"].batch_norm_param.moving_average_fraction == pytest.approx(0.999)
    assert not layers["conv1/bn"].batch_norm_param.HasField("use_global_stats")  # Caffe goes by the phase
    assert [(p.lr_mult, p.decay_mult) for p in layers["conv1/bn"].param] == [(0, 0)] * 3
    assert layers["conv1/scale"].scale_param.bias_term
    pool1, pool2 = (layers[name].pooling_param for name in ("pool1", "pool2"))
    assert (pool1.pool, pool1.kernel_size, pool1.stride, pool1.pad) == (pool1.MAX, 3, 2, 1)
    assert (pool2.pool, pool2.kernel_size, pool2.stride, pool2.pad) == (pool2.AVE, 2, 2, 0)
    assert pool2.engine == pool2.CAFFE
    unit = layers["conv4_24/x2"].convolution_param
    assert (unit.num_output, *unit.kernel_size, *unit.pad) == (32, 3, 1)
    assert layers["up5"].interp_param.zoom_factor == 2
    assert layers["fusion2_5/up"].interp_param.zoom_factor == 4
    assert layers["fusion2_3"].eltwise_param.operation == layers["fusion2_3"].eltwise_param.SUM
    assert list(layers["classmate_slice"].slice_param.slice_point) == [1]
    assert layers["land/score"].convolution_param.num_output == 6
    assert layers["land/score"].convolution_param.bias_term
    loss = layers["land/loss"]
    assert (loss.loss_param.ignore_label, list(loss.loss_weight)) == (255, [1])
    assert loss.loss_param.normalization == loss.loss_param.VALID


@pytest.mark.caffe
def test_protobuf_reads_the_deploy_nets_input():
    net = parsed(net_text(build(experiment("dfcnet"), DEPLOY), []))
    assert list(net.layer[0].input_param.shape[0].dim) == [1, 3, 1025, 1025]


def test_the_header_names_the_command_and_sections_name_the_papers_parts():
    exp = experiment("dfcnet")
    text = net_text(build(exp, TRAIN), header(exp, "Train net"))
    lines = text.splitlines()
    assert lines[0] == "# Train net of dfcnet: DFCNet of the paper's Dense Fusion Classmate Network."
    assert lines[1].startswith("# Emitted by `python tools/make_net.py dfcnet`")
    titles = [line.removeprefix("# ---- ") for line in lines if line.startswith("# ---- ")]
    assert "DenseBlock 4: 24 units at r_4 = 65" in titles
    assert "Transition up 8 -> 9" in titles
    assert [title for title in titles if "Classmate" in title]
    assert [title for title in titles if "Dense fusion" in title]


def test_a_line_break_in_a_command_does_not_end_the_comment():
    exp = experiment("dfcnet")
    lines = header(exp, "Train net", Command("make_net.py 'a\nforce_backward: true'", "b\nc.toml"))
    net = parsed(net_text(build(exp, TRAIN), lines))
    assert not net.force_backward
    assert "\n" not in "".join(lines)


def test_every_layer_has_one_shape_throughout():
    net = build(experiment("dfcnet"), TRAIN)
    text = net_text(net, [])
    layers = re.findall(r"^layer {\n(.*?)^}$", text, re.M | re.S)
    assert len(layers) == len(net.layers)
    for layer in layers:
        keys = [re.match(r"  (\w+)", line)[1] for line in layer.splitlines()]
        assert re.fullmatch(
            r"name type (bottom )*(top )*(param )*(\w+_(param|weight) )*", " ".join(keys) + " "
        )
    assert not re.search(r"[ \t]$", text, re.M)


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """Return a copy of the templates that this test may harm."""
    shutil.copytree(ROOT / "templates" / "prototxt", tmp_path / "prototxt")
    monkeypatch.setattr(common.templates, "TEMPLATES", tmp_path)
    common.templates.templates.cache_clear()
    yield tmp_path / "prototxt"
    common.templates.templates.cache_clear()


@pytest.mark.caffe
def test_text_that_protobuf_cannot_read_is_refused_with_the_nets_name(templates):
    path = templates / "net.prototxt.j2"
    path.write_text(path.read_text().replace("  type:", "  kind:"))
    with pytest.raises(NetError, match=r"dfcnet: is not a NetParameter .*kind"):
        net_text(build(experiment("dfcnet"), TRAIN), [])


def test_a_name_that_a_template_does_not_know_is_an_error(templates):
    path = templates / "net.prototxt.j2"
    path.write_text(path.read_text().replace("layer.type", "layer.typ"))
    with pytest.raises(jinja2.UndefinedError, match="typ"):
        net_text(build(experiment("dfcnet"), TRAIN), [])


@pytest.mark.caffe
def test_a_field_that_caffe_does_not_have_is_refused():
    net = Net("odd", DEPLOY)
    net.section("All")
    net.pool("p", net.input("x", (1, 3, 33, 33)), "MEDIAN", kernel=2, stride=2)
    with pytest.raises(NetError, match=r"odd: is not a NetParameter .*MEDIAN"):
        net_text(net, [])


@pytest.mark.parametrize(
    ("name", "ranks", "passes"),
    [
        ("baseline", None, 4),  # 32 / (8 ranks x 1 task x 1 image)
        ("baseline", 1, 32),
        ("baseline", 2, 16),
        ("baseline", 8, 4),
        ("dfcnet", None, 1),  # 16 / (8 ranks x 2 tasks x 1 image)
        ("dfcnet", 1, 8),
        ("dfcnet", 2, 4),
        ("dfcnet", 8, 1),
        ("dfcnet_demo", 1, 1),  # 8 / (1 rank x 2 tasks x 4 images)
    ],
)
def test_the_batch_is_filled_by_ranks_tasks_and_passes(name, ranks, passes):
    fields = solver_fields(experiment(name), ranks)
    assert fields["iter_size"] == str(passes)
    # Summed layer by layer, a gradient would be sent while a later pass still adds to it.
    assert fields["layer_wise_reduce"] == ("true" if passes == 1 else "false")


@pytest.mark.parametrize(
    ("ranks", "fact"),
    [
        (3, "3 ranks x 2 tasks x 1 images_per_pass = 6"),
        (16, "16 ranks x 2"),
        (0, "0 ranks"),
        (-1, "-1 ranks"),
    ],
)
def test_ranks_that_do_not_share_the_batch_are_refused(ranks, fact):
    with pytest.raises(ExperimentError, match=fact) as caught:
        solver_fields(experiment("dfcnet"), ranks)
    assert caught.value.where == "dfcnet"


def test_the_papers_solver_is_written_in_caffes_words():
    assert solver_fields(experiment("dfcnet")) == {
        "net": '"net.prototxt"',
        "type": '"SGD"',
        "lr_policy": '"poly"',
        "max_iter": "80000",
        "base_lr": "0.001",
        "power": "0.9",
        "momentum": "0.9",
        "weight_decay": "0.0005",
        "display": "20",
        "snapshot": "2000",
        "random_seed": "1",
        "iter_size": "1",
        "layer_wise_reduce": "true",
        "snapshot_prefix": '"runs/x"',
        "solver_mode": "GPU",
    }


@pytest.mark.caffe
def test_protobuf_reads_every_field_a_solver_may_have():
    exp = experiment(
        "dfcnet",
        lr_policy="multistep",
        gamma=0.1,
        stepvalue=(10, 20),
        type="Adam",
        momentum2=0.999,
        rms_decay=0.98,
        delta=1e-8,
        stepsize=5,
        regularization_type="L1",
        clip_gradients=35.0,
    )
    solver = parsed(solver_text(exp, 'a "net"', "runs/x", "CPU", ["x"]), "SolverParameter")
    assert (solver.net, solver.type, solver.lr_policy) == ('a "net"', "Adam", "multistep")
    assert (list(solver.stepvalue), solver.stepsize) == ([10, 20], 5)
    assert solver.momentum2 == pytest.approx(0.999)
    assert solver.delta == pytest.approx(1e-8)
    assert (solver.regularization_type, solver.clip_gradients) == ("L1", 35)
    assert solver.solver_mode == solver.CPU
    assert solver.snapshot_prefix == "runs/x"


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_three_files_are_written_and_the_solver_points_to_the_train_net(tmp_path):
    out = tmp_path / "nets"
    paths = write_nets(experiment("dfcnet_demo"), out, overwrite=False, mode="CPU")
    assert paths == [out / f"{kind}.prototxt" for kind in ("train", "deploy", "solver")]
    written = texts(out)
    assert set(written) == {path.name for path in paths}
    assert f'net: "{out}/train.prototxt"\n' in written["solver.prototxt"]
    assert 'snapshot_prefix: "runs/dfcnet_demo"\n' in written["solver.prototxt"]
    assert "solver_mode: CPU\n" in written["solver.prototxt"]
    assert 'type: "Data"' in written["train.prototxt"]
    assert 'type: "Input"' in written["deploy.prototxt"]


def test_emission_is_the_same_each_time(tmp_path):
    for folder in ("a", "b"):
        write_nets(experiment("dfcnet"), tmp_path / folder, overwrite=False)
    a, b = texts(tmp_path / "a"), texts(tmp_path / "b")
    assert a["train.prototxt"] == b["train.prototxt"]
    assert a["deploy.prototxt"] == b["deploy.prototxt"]


def test_overwriting_keeps_what_else_is_in_the_folder(tmp_path):
    out = tmp_path / "nets"
    write_nets(experiment("baseline"), out, overwrite=False)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_nets(experiment("dfcnet_demo"), out, overwrite=False)
    assert 'name: "baseline"' in texts(out)["train.prototxt"]
    write_nets(experiment("dfcnet_demo"), out, overwrite=True)
    assert 'name: "dfcnet_demo"' in texts(out)["train.prototxt"]
    assert texts(out)["notes.txt"] == "mine"
    assert len(texts(out)) == 4


def test_an_error_while_building_leaves_nothing_behind(tmp_path):
    exp = experiment("dfcnet_demo", batch_size=9)
    with pytest.raises(ExperimentError, match="batch_size 9"):
        write_nets(exp, tmp_path / "nets", overwrite=False)
    assert list(tmp_path.iterdir()) == []
