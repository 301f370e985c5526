"""Records: image and label stay together, labels are never mixed, draws depend on (seed, id, variant)."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import DataError
from data_prep.records import RecordConfig, make_record, record_rng
from prototxt_gen.experiment import read_experiment
from tests.datasets import LAND as LAND_COVER
from tests.datasets import ArrayScene, config

RNG = np.random.default_rng(0)
SOLVERS = Path(__file__).parents[2] / "solvers"
LAND = config("land", crop=65, margin=16, variants=3, seed=5)


def scene(image: np.ndarray, labels: np.ndarray) -> ArrayScene:
    return ArrayScene(image, labels)


def coded_scene(height: int, width: int) -> ArrayScene:
    """Return a scene whose blue channel says which label (0 or 5) a pixel has, in blocks of 20."""
    blocks = RNG.integers(0, 2, (height // 20 + 1, width // 20 + 1))
    labels = np.kron(blocks, np.ones((20, 20), int))[:height, :width].astype(np.uint8) * 5
    image = np.dstack([labels * 40, np.full_like(labels, 30), np.full_like(labels, 60)])
    return scene(image, labels)


def test_a_record_has_the_stated_shape_and_type():
    record = make_record(coded_scene(200, 300), "id", 0, LAND)
    assert record.shape == (4, 81, 81)
    assert record.dtype == np.uint8


@pytest.mark.parametrize("variant", range(8))
def test_image_and_label_stay_together(variant):
    record = make_record(coded_scene(220, 300), "id", variant, LAND)
    blue, label = record[0].astype(int), record[3]
    settled = (blue < 20) | (blue > 180)  # away from the mixed colours of borders
    assert settled.mean() > 0.7
    # A border may fall differently in a filtered and in a nearest-neighbour map: by less than a pixel.
    assert ((blue > 100) == (label == 5)).mean() > 0.98
    assert (record[1] == 30).all()
    assert (record[2] == 60).all()


@pytest.mark.parametrize("task", ["land", "road"])
def test_no_label_arises_that_the_source_does_not_have(task):
    made = config(task, 33, 0, 1, 1)
    labels = RNG.choice(np.array([0, 1, 255], np.uint8), (90, 90))
    for variant in range(30):
        record = make_record(scene(np.zeros((90, 90, 3), np.uint8), labels), "x", variant, made)
        assert set(np.unique(record[3])) <= {0, 1, 255}


def test_a_small_scene_is_padded_with_the_mean_colour_and_ignored():
    image = np.zeros((30, 500, 3), np.uint8)
    record = make_record(scene(image, np.ones((30, 500), np.uint8)), "x", 0, LAND)
    padded = record[3] == 255
    assert padded.all(axis=1).any()
    assert (padded.all(axis=1) | (record[3] == 1).all(axis=1)).all()
    assert (record[:3, padded] == np.array([104, 117, 124])[:, None]).all()
    assert (record[:3, ~padded] == 0).all()
    assert 30 * 0.78 <= (~padded[:, 0]).sum() <= 30 * 1.27


def test_the_recipe_of_an_experiment_is_what_its_net_is_fed_with():
    exp = read_experiment(SOLVERS / "dfcnet" / "experiment.toml")
    made = RecordConfig.of(exp, "road", 32, 2, 1)
    assert (made.crop, made.bands, made.mean) == (1025, exp.input.bands, exp.input.mean)
    assert made.dataset == exp.tasks["road"].dataset


def test_a_record_has_as_many_channels_as_bands_and_the_label():
    bands = ("nir", "red", "green", "blue", "swir")
    made = replace(LAND, bands=bands, mean=(10, 20, 30, 40, 50))
    image = np.full((30, 300, 5), (1, 2, 3, 4, 5), np.uint8)
    record = make_record(scene(image, np.ones((30, 300), np.uint8)), "x", 0, made)
    assert record.shape == (6, 81, 81)
    padded = record[5] == 255
    assert padded.any()
    for channel in range(5):
        assert (record[channel][padded] == 10 * (channel + 1)).all()
        assert (record[channel][~padded] == channel + 1).all()
    with pytest.raises(DataError, match="--encode: is png for 5 bands"):
        replace(made, encode="png")


@pytest.mark.parametrize(("task", "low", "high"), [("land", 0.8, 1.25), ("road", 0.5, 1.5)])
def test_scales_fill_the_papers_range(task, low, high):
    ramp = np.broadcast_to(np.arange(250, dtype=np.uint8)[:, None], (250, 400))
    image, labels = np.dstack([ramp] * 3), np.zeros((250, 400), np.uint8)
    made = config(task, 65, 0, 1, 2)
    scales = []
    for variant in range(200):
        column = make_record(scene(image, labels), "x", variant, made)[0, :, 0].astype(float)
        scales.append(50 / (column[57] - column[7]))  # pixels of the record per pixel of the scene
    assert low * 0.95 < min(scales) < low * 1.08
    assert high * 0.92 < max(scales) < high * 1.06


def test_crops_reach_every_edge_of_the_scene():
    labels = np.zeros((120, 160), np.uint8)
    labels[0], labels[-1], labels[:, 0], labels[:, -1] = 1, 2, 3, 4
    pixels = scene(np.zeros((120, 160, 3), np.uint8), labels)
    seen = {
        int(value)
        for variant in range(400)
        for value in np.unique(make_record(pixels, "x", variant, LAND)[3])
    }
    assert seen == {0, 1, 2, 3, 4}


def test_a_record_depends_on_seed_id_and_variant_alone():
    pixels = coded_scene(300, 300)
    first = make_record(pixels, "a", 1, LAND)
    make_record(pixels, "b", 0, LAND)  # draws for another in between
    assert (make_record(pixels, "a", 1, LAND) == first).all()
    for id, variant, seed in (("b", 1, 5), ("a", 2, 5), ("a", 1, 6)):
        assert (make_record(pixels, id, variant, replace(LAND, seed=seed)) != first).any()


def test_draws_are_the_same_on_every_machine():
    assert record_rng(1, "scene", 2).integers(0, 1000, 4).tolist() == [972, 628, 685, 381]


def fixed_record() -> bytes:
    rng = np.random.default_rng(7)
    image, labels = rng.integers(0, 256, (200, 200, 3), np.uint8), rng.integers(0, 6, (200, 200), np.uint8)
    return make_record(scene(image, labels), "a", 1, LAND).tobytes()


def test_another_process_makes_the_same_record():
    code = """
import sys
from tests.data_prep.test_records import fixed_record
sys.stdout.buffer.write(fixed_record())
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root, check=True)
    assert done.stdout == fixed_record()


def test_rotation_turns_all_four_channels_together_in_all_four_ways():
    pixels = coded_scene(200, 200)
    turns = set()
    for variant in range(24):
        plain = make_record(pixels, "a", variant, LAND)
        turned = make_record(pixels, "a", variant, replace(LAND, rotate=True))
        same = [k for k in range(4) if all((np.rot90(plain[c], k) == turned[c]).all() for c in range(4))]
        turns.update(same)
        assert same
    assert turns == {0, 1, 2, 3}


def test_rotation_and_the_data_layers_mirroring_make_all_eight_symmetries_of_the_square():
    """Caffe mirrors left to right alone: top to bottom is that after half a turn."""
    image = np.zeros((200, 200, 3), np.uint8)
    image[20:90, 30:60] = 200  # one corner, not square
    pixels, made = scene(image, np.zeros((200, 200), np.uint8)), replace(LAND, rotate=True)
    for variant in range(24):
        plain = make_record(pixels, "a", variant, LAND)
        if np.array_equal(make_record(pixels, "a", variant, made), plain[:, ::-1, ::-1]):  # half a turn
            mirrored = make_record(pixels, "a", variant, made)[:, :, ::-1]
            np.testing.assert_array_equal(mirrored, plain[:, ::-1])
            break
    else:
        pytest.fail("no half turn in 24 variants")


@pytest.mark.parametrize("rotate", [False, True])
def test_jitter_changes_each_bands_brightness_and_all_contrast_and_no_label(rotate):
    """Two grey levels of a band give its line, of slope brightness x contrast."""
    image = np.full((200, 200, 3), 90, np.uint8)
    image[:, 100:] = 130
    pixels = scene(image, (image[..., 0] > 100).astype(np.uint8))
    slopes, brightness = [], []
    for variant in range(40):
        plain = make_record(pixels, "a", variant, replace(LAND, rotate=rotate))
        record = make_record(pixels, "a", variant, replace(LAND, rotate=rotate, jitter=0.2))
        np.testing.assert_array_equal(record[3], plain[3])
        lines = []
        for band, mean in zip(range(3), LAND.mean, strict=True):
            low, high = (record[band][plain[band] == value].astype(float) for value in (90, 130))
            if low.size and high.size:
                assert low.std() == high.std() == 0
                slope = (high[0] - low[0]) / 40
                start = low[0] - 90 * slope  # = mean x (1 - contrast)
                lines.append((slope, 1 - start / mean))
        for slope, contrast in lines:
            slopes.append(slope)
            brightness.append(slope / contrast)
            assert contrast == pytest.approx(lines[0][1], abs=0.05)  # levels are whole numbers
    assert 0.64 - 0.03 < min(slopes) < 0.8
    assert 1.2 < max(slopes) < 1.44 + 0.03
    assert 0.75 < min(brightness) < 0.86
    assert 1.14 < max(brightness) < 1.25


def test_jitter_leaves_padding_at_the_mean():
    made = replace(LAND, jitter=0.5)
    record = make_record(
        scene(np.full((30, 500, 3), 200, np.uint8), np.ones((30, 500), np.uint8)), "x", 0, made
    )
    padded = record[3] == 255
    assert padded.any()
    assert (record[:3, padded] == np.array([104, 117, 124])[:, None]).all()
    assert (record[:3, ~padded] != 200).any()


def test_a_class_aware_choice_finds_a_rare_class_more_often():
    labels = np.zeros((400, 400), np.uint8)
    labels[170:230, 170:230] = 1  # 2 % of the scene
    pixels = scene(np.zeros((400, 400, 3), np.uint8), labels)
    share = {}
    for aware in (False, True):
        made = config("road", 33, 0, 1, 3, class_aware=aware)
        share[aware] = np.mean([(make_record(pixels, "x", k, made)[3] == 1).mean() for k in range(300)])
    assert 0.01 < share[False] < 0.035
    assert share[True] > 2.5 * share[False]


@pytest.mark.parametrize(
    "wrong",
    [{"jitter": 1.0}, {"jitter": -0.1}, {"margin": -1}, {"variants": 0}, {"seed": -1}, {"encode": "gif"}],
)
def test_other_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(DataError, match=f"--{next(iter(wrong))}"):
        replace(LAND, **wrong)


@pytest.mark.parametrize("bands", [5, 8])
def test_records_of_many_bands_are_those_of_their_bands_alone(bands):
    """OpenCV shrinks at most four channels at once."""
    image = np.random.default_rng(bands).integers(0, 256, (300, 300, bands), np.uint8)
    labels = np.zeros((300, 300), np.uint8)
    names = tuple(f"b{number}" for number in range(bands))
    dataset = LAND_COVER.model_copy(update={"bands": names, "resize": (0.3, 0.4)})
    together = RecordConfig(dataset, names, (0.0,) * bands, 65, 0, 1, 7)
    record = make_record(scene(image, labels), "id", 0, together)
    assert record.shape == (bands + 1, 65, 65)
    for number, name in enumerate(names):
        alone = replace(together, bands=(name,), mean=(0.0,))
        one = make_record(scene(image[..., [number]], labels), "id", 0, alone)
        np.testing.assert_array_equal(record[number], one[0])
