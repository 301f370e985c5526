"""Nets of any growth, units and crop have the shapes of DenseNet's arithmetic; settings by file or --set."""

import json
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.settings import first_difference
from prototxt_gen.emit import solver_text
from prototxt_gen.experiment import Experiment, read_experiment
from prototxt_gen.models import DEPLOY, TRAIN, build
from tests.conftest import TINY
from tests.prototxt_gen.nets import blobs
from tests.prototxt_gen.test_models_in_caffe import assert_shapes_are_caffes, in_caffe

units = st.integers(1, 3)


def read(text: str, *settings: str) -> Experiment:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.toml"
        path.write_text(text, encoding="utf-8")
        return read_experiment(path, settings)


def as_setting(value: object) -> str:
    return json.dumps(value)  # of numbers and lists of them: TOML and JSON are alike


densenets = st.fixed_dictionaries(
    {
        "input.crop": st.sampled_from([33, 65, 97]),
        "densenet.stem_channels": st.integers(2, 9),
        "densenet.growth_rate": st.integers(1, 6),
        "densenet.bottleneck": st.integers(1, 4),
        "densenet.compression": st.sampled_from([0.5, 0.75, 1.0]),
        "densenet.encoder_units": st.lists(units, min_size=4, max_size=4),
        "densenet.decoder_units": st.lists(units, min_size=4, max_size=4),
        "densenet.up_channels": st.integers(1, 9),
        "fusion.channels": st.integers(1, 9),
        "head_channels": st.integers(1, 9),
    }
)


def expected_shapes(drawn: dict) -> dict[str, tuple[int, int]]:
    """Channels and side of what blocks, transitions, fusions and heads give, by DenseNet's arithmetic."""
    crop, growth = drawn["input.crop"], drawn["densenet.growth_rate"]
    side = {halvings: (crop - 1) // 2**halvings + 1 for halvings in range(6)}
    shapes, channels, skips = (
        {"conv1": (drawn["densenet.stem_channels"], side[1])},
        drawn["densenet.stem_channels"],
        {},
    )
    for block, count in enumerate(drawn["densenet.encoder_units"], 2):
        channels += count * growth
        shapes[f"concat_{block}_{count}"] = skips[block] = (channels, side[block])
        shapes[f"fusion{block}"] = (drawn["fusion.channels"], side[block])
        if block < 5:
            channels = int(channels * drawn["densenet.compression"])
            shapes[f"conv{block}_blk"], shapes[f"pool{block}"] = (
                (channels, side[block]),
                (channels, side[block + 1]),
            )
    up = drawn["densenet.up_channels"]
    joined = {6: skips[4], 7: skips[3], 8: skips[2], 9: shapes["conv1"]}
    for block, count in enumerate(drawn["densenet.decoder_units"], 6):
        assert joined[block][1] == side[10 - block]
        shapes[f"conv{block - 1}_blk"] = (up, side[11 - block])
        shapes[f"up{block - 1}"] = (up, side[10 - block])
        shapes[f"concat_{block}"] = (up + joined[block][0], side[10 - block])
        shapes[f"concat_{block}_{count}"] = (up + joined[block][0] + count * growth, side[10 - block])
        shapes[f"fusion{block}"] = (drawn["fusion.channels"], side[10 - block])
    for pair, halvings in {"2_3": 2, "4_5": 4, "6_7": 3, "8_9": 1, "2_5": 2, "6_9": 1, "2_9": 1}.items():
        shapes[f"fusion{pair}"] = (drawn["fusion.channels"], side[halvings])
    for task, classes in {"land": 6, "road": 2}.items():
        shapes[f"{task}/conv"] = (drawn["head_channels"], side[1])
        shapes[f"{task}_score"] = shapes[f"{task}_prob"] = (classes, crop)
    return shapes


def set_all(drawn: dict) -> list[str]:
    return [f"{key}={as_setting(value)}" for key, value in drawn.items()]


@given(densenets)
def test_every_block_has_the_channels_and_the_side_of_densenets_arithmetic(drawn):
    exp = read(TINY, *set_all(drawn))
    shapes = blobs(build(exp, DEPLOY))
    for name, (channels, side) in expected_shapes(drawn).items():
        assert shapes[name] == (1, channels, side, side), name
    train = build(exp, TRAIN)
    assert train.parameter_shapes() == build(exp, DEPLOY).parameter_shapes()


@pytest.mark.caffe
@settings(max_examples=5)
@given(densenets)
def test_the_shapes_are_caffes(drawn):
    net = build(read(TINY, *set_all(drawn)), DEPLOY)
    with tempfile.TemporaryDirectory() as folder:
        assert_shapes_are_caffes(net, in_caffe(net, Path(folder)))


@given(densenets, st.floats(1e-6, 1), st.integers(1, 10**6))
def test_a_setting_is_what_the_file_would_say(drawn, rate, iterations):
    drawn = drawn | {"solver.base_lr": rate, "solver.max_iter": iterations}
    table = tomllib.loads(TINY)
    text = TINY
    for key, value in drawn.items():
        *tables, name = key.split(".")
        inner = table[tables[0]] if tables else table
        before = f"\n{name} = {as_setting(inner[name])}\n"
        assert text.count(before) == 1
        text = text.replace(before, f"\n{name} = {as_setting(value)}\n")
    assert read(TINY, *set_all(drawn)) == read(text)


@given(densenets, densenets)
def test_experiments_come_back_from_what_is_recorded_of_them_and_their_first_difference_is_named(
    first, second
):
    one, two = (read(TINY, *set_all(drawn)) for drawn in (first, second))
    tables = [json.loads(exp.model_dump_json()) for exp in (one, two)]
    assert Experiment.model_validate(tables[0]) == one
    different = {key for key in first if first[key] != second[key]}
    found = first_difference(*tables)
    if not different:
        assert found is None
        return
    key, before, now = found
    assert key in different
    assert (before, now) == (first[key], second[key])


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 4))
def test_the_passes_of_all_ranks_fill_the_batch_or_the_numbers_are_refused(batch, ranks, images):
    exp = read(TINY)
    exp = exp.model_copy(
        update={"solver": exp.solver.model_copy(update={"batch_size": batch, "images_per_pass": images})}
    )
    possible = [passes for passes in range(1, batch + 1) if passes * ranks * images * len(exp.tasks) == batch]
    if possible:
        assert [exp.iter_size(ranks)] == possible
        assert f"iter_size: {possible[0]}" in solver_text(exp, "n", "s", "CPU", [], ranks)
    else:
        with pytest.raises(
            ValueError, match=f"batch_size {batch} is not a multiple of {ranks} ranks x 2 tasks"
        ):
            exp.iter_size(ranks)
