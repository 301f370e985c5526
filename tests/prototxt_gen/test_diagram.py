"""The facts of the picture, against lists written by hand from the design of the nets."""

from functools import cache
from pathlib import Path

import pytest

from prototxt_gen.diagram import BLOCK, CONCAT, IMAGE, OUTPUT, SLICE, STEM, SUM, Diagram, read_diagram
from prototxt_gen.experiment import read_experiment
from prototxt_gen.layers import Blob, Net, message
from prototxt_gen.models import DEPLOY, TRAIN, build

SOLVERS = Path(__file__).parents[2] / "solvers"
PAPER = ["baseline", "classmate", "dfcnet"]
DOWN = [("DenseBlock 2", "DenseBlock 3"), ("DenseBlock 3", "DenseBlock 4"), ("DenseBlock 4", "DenseBlock 5")]


@cache
def diagram(name: str, phase: str = TRAIN) -> Diagram:
    return read_diagram(build(read_experiment(SOLVERS / name / "experiment.toml"), phase))


def steps(found: Diagram) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return (source, target) -> steps; no two edges join the same nodes."""
    edges = {(edge.source, edge.target): edge.steps for edge in found.edges}
    assert len(edges) == len(found.edges)
    return edges


# Block: layer units, channels (growth 32), fraction of the crop, pixels at crop 1025.
BLOCKS = {
    2: (6, 64 + 6 * 32, 4, 257),
    3: (12, 128 + 12 * 32, 8, 129),
    4: (24, 256 + 24 * 32, 16, 65),
    5: (16, 512 + 16 * 32, 32, 33),
    6: (24, 256 + 1024 + 24 * 32, 16, 65),
    7: (12, 256 + 512 + 12 * 32, 8, 129),
    8: (6, 256 + 256 + 6 * 32, 4, 257),
    9: (4, 256 + 64 + 4 * 32, 2, 513),
}


@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
@pytest.mark.parametrize("name", PAPER)
def test_blocks_have_the_units_channels_and_resolutions_of_the_paper(name, phase):
    found = diagram(name, phase)
    expected = {block: facts for block, facts in BLOCKS.items() if block < 9 or name == "dfcnet"}
    blocks = found.of_kind(BLOCK)
    assert {x.blocks[0]: (x.units, x.channels, found.reduction(x), x.size) for x in blocks} == expected
    assert [x.name for x in blocks] == [f"DenseBlock {block}" for block in expected]
    (stem,) = found.of_kind(STEM)
    assert (stem.channels, found.reduction(stem), stem.size, stem.units) == (64, 2, 513, 0)
    assert found.crop == 1025


@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
@pytest.mark.parametrize("name", PAPER)
def test_skips_join_blocks_of_one_resolution(name, phase):
    expected = {
        ("DenseBlock 4", "DenseBlock 6"),
        ("DenseBlock 3", "DenseBlock 7"),
        ("DenseBlock 2", "DenseBlock 8"),
    }
    expected |= {("Stem", "DenseBlock 9")} if name == "dfcnet" else set()
    assert {(edge.source, edge.target) for edge in diagram(name, phase).skips()} == expected


@pytest.mark.parametrize("name", PAPER)
def test_transitions_go_down_by_average_pooling_and_up_by_interp(name):
    found = steps(diagram(name))
    assert found["Stem", "DenseBlock 2"] == ("max pool",)
    assert [found[ends] for ends in DOWN] == [
        (f"1x1, {channels}", "avg pool") for channels in (128, 256, 512)
    ]
    for block in (5, 6, 7, *([8] if name == "dfcnet" else [])):
        assert found[f"DenseBlock {block}", f"DenseBlock {block + 1}"] == ("1x1, 256", "x2")


@pytest.mark.parametrize("phase", [TRAIN, DEPLOY])
def test_dense_fusion_enlarges_the_smaller_of_each_pair(phase):
    found = diagram("dfcnet", phase)
    expected = {  # what is added: first and second, their enlargement, the sum's pixels
        "(2,3)": (("DenseBlock 2", ""), ("DenseBlock 3", "x2"), 257),
        "(4,5)": (("DenseBlock 4", ""), ("DenseBlock 5", "x2"), 65),
        "(2,5)": (("(2,3)", ""), ("(4,5)", "x4"), 257),
        "(6,7)": (("DenseBlock 6", "x2"), ("DenseBlock 7", ""), 129),
        "(8,9)": (("DenseBlock 8", "x2"), ("DenseBlock 9", ""), 513),
        "(6,9)": (("(6,7)", "x4"), ("(8,9)", ""), 513),
        "(2,9)": (("(2,5)", "x2"), ("(6,9)", ""), 513),
    }
    edges = {
        (source, target): (*(["1x1, 256"] if source.startswith("DenseBlock") else []), *zoom.split())
        for target, (*sources, _) in expected.items()
        for source, zoom in sources
    }
    assert {ends: value for ends, value in steps(found).items() if ends[1] in expected} == edges
    sums = found.of_kind(SUM)
    assert [(x.name, x.channels, x.size) for x in sums] == [(k, 256, v[2]) for k, v in expected.items()]
    assert sums[-1].blocks == (2, 3, 4, 5, 6, 7, 8, 9)


def test_classmates_are_joined_before_the_stem_and_parted_at_the_deepest_feature():
    for name, deepest, way, zoom in (
        ("classmate", "DenseBlock 8", ("1x1, 256",), "x4"),
        ("dfcnet", "(2,9)", (), "x2"),
    ):
        found = steps(diagram(name))
        ends = {"land image", "road image", CONCAT, SLICE, "land", "road"}
        assert {key: value for key, value in found.items() if ends & set(key)} == {
            ("land image", CONCAT): (),
            ("road image", CONCAT): (),
            (CONCAT, "Stem"): ("7x7, 64",),
            (deepest, SLICE): way,
            (SLICE, "land"): ("3x3, 256", "1x1, 6", zoom),
            (SLICE, "road"): ("3x3, 256", "1x1, 2", zoom),
        }
        assert [(x.name, x.channels, x.size) for x in diagram(name).of_kind(OUTPUT)] == [
            ("land", 6, 1025),
            ("road", 2, 1025),
        ]


def test_the_baseline_has_one_image_one_head_and_neither_concat_slice_nor_fusion():
    found = diagram("baseline")
    assert [x.name for x in found.of_kind(IMAGE)] == ["land image"]
    assert [x.name for x in found.of_kind(OUTPUT)] == ["land"]
    assert not found.of_kind(CONCAT, SLICE, SUM)
    assert steps(found)["land image", "Stem"] == ("7x7, 64",)
    assert steps(found)["DenseBlock 8", "land"] == ("1x1, 256", "3x3, 256", "1x1, 6", "x4")


@pytest.mark.parametrize(
    ("name", "phase", "deepest", "way"),
    [
        ("baseline", TRAIN, "DenseBlock 8", ("1x1, 256",)),
        ("classmate", TRAIN, "DenseBlock 8", ("1x1, 256",)),
        ("classmate", DEPLOY, "DenseBlock 8", ("1x1, 256",)),
        ("dfcnet", TRAIN, "(2,9)", ()),
        ("dfcnet", DEPLOY, "(2,9)", ()),
    ],
)
def test_heads_begin_where_the_tasks_part(name, phase, deepest, way):
    found = diagram(name, phase)
    assert (found.deepest()[0].name, found.deepest()[1]) == (deepest, way)
    assert found.head("land") == ("3x3, 256", "1x1, 6", "x2" if name == "dfcnet" else "x4")


def test_a_deploy_net_of_one_task_has_one_image_and_that_head():
    exp = read_experiment(SOLVERS / "dfcnet" / "experiment.toml")
    found = read_diagram(build(exp, DEPLOY, ["road"], crop=33))
    assert [(x.name, x.channels, x.size) for x in found.of_kind(OUTPUT)] == [("road", 2, 33)]
    assert [x.name for x in found.of_kind(IMAGE)] == ["input image"]
    assert [(x.size, found.reduction(x)) for x in found.of_kind(BLOCK)[:4]] == [
        (9, 4),
        (5, 8),
        (3, 16),
        (2, 32),
    ]


def test_units_are_counted_not_presumed():
    exp = read_experiment(SOLVERS / "dfcnet" / "experiment.toml")
    arch = exp.densenet.model_copy(update={"encoder_units": (1, 2, 3, 4), "decoder_units": (5, 7, 8, 9)})
    found = read_diagram(build(exp.model_copy(update={"densenet": arch}), TRAIN))
    assert [x.units for x in found.of_kind(BLOCK)] == [1, 2, 3, 4, 5, 7, 8, 9]


def maximum(net: Net, name: str, xs: list[Blob]) -> Blob:
    return net.add("Eltwise", name, xs, xs[:1], message("eltwise_param", operation="MAX"))[0]


def joined(net: Net, name: str, xs: list[Blob]) -> Blob:
    return net.convolution(f"{name}/out", net.concat(name, xs), xs[0].channels, kernel=1)


@pytest.mark.parametrize("rule, operation", [(maximum, "Eltwise max"), (joined, "Concat")])
def test_blocks_that_another_rule_integrates_stand_in_the_same_places(monkeypatch, rule, operation):
    monkeypatch.setattr(Net, "eltwise_sum", rule)
    other = read_diagram(build(read_experiment(SOLVERS / "dfcnet" / "experiment.toml"), TRAIN))
    sums = diagram("dfcnet")
    assert {node.operation for node in sums.of_kind(SUM)} == {"Eltwise sum"}
    assert {node.operation for node in other.of_kind(SUM)} == {operation}
    assert {name: node.blocks for name, node in other.nodes.items()} == {
        name: node.blocks for name, node in sums.nodes.items()
    }
    assert other.edges == sums.edges
