"""Records of any scene, crop, margin and scale; windows of any image; databases in the order of keys."""

import tempfile
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from common.datasets import IGNORE
from data_prep.datums import from_datum, to_datum
from data_prep.growing_lmdb import GrowingLMDB
from data_prep.read_options import ReadOptions, Stretch
from data_prep.records import make_record
from data_prep.scene_image import open_image
from tests.datasets import LAND, ArrayScene, config

sizes = st.tuples(st.integers(1, 200), st.integers(1, 200))


def ruler(shape: tuple[int, int], axis: int) -> ArrayScene:
    """A scene whose image and labels say the row of each pixel, or its column."""
    place = np.indices(shape)[axis].astype(np.uint8)
    return ArrayScene(np.dstack([place] * 3), place)


@given(
    sizes,
    st.sampled_from([33, 65]),
    st.integers(0, 20),
    st.tuples(st.floats(0.3, 3), st.floats(1, 1.5)),
    st.integers(0, 999),
    st.sampled_from([0, 1]),
)
def test_a_record_shows_one_window_of_the_scene_at_one_scale(shape, crop, margin, scales, seed, axis):
    """Rulers as images: where the record has data, each step is the scale's, and labels go with pixels."""
    made = config("land", crop, margin, 1, seed)
    made = replace(made, dataset=LAND.model_copy(update={"resize": (scales[0], scales[0] * scales[1])}))
    record = make_record(ruler(shape, axis), "id", 0, made)
    side = crop + margin
    assert record.shape == (4, side, side)
    padded = record[3] == IGNORE
    inside = np.argwhere(~padded)
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0) + 1
    assert (bottom - top) * (right - left) == len(inside)  # one rectangle
    assert (record[:3, padded] == np.rint(made.mean).astype(np.uint8)[:, None]).all()
    image, label = (
        np.moveaxis(each[top:bottom, left:right], axis, 0).astype(float) for each in record[[0, 3]]
    )
    assert (
        np.abs(image - image[:, :1]).max() <= 1
    )  # a ruler is the same all along; halves are rounded either way
    assert (label == label[:, :1]).all()
    assert (record[0] == record[1])[~padded].all()
    image, label = image[:, 0], label[:, 0]
    assert (np.diff(label) >= 0).all()
    assert 0 <= label[0] <= label[-1] < shape[axis]
    window = max(1, round(side / scales[0])), max(1, round(side / (scales[0] * scales[1])))
    if len(label) > 1:
        first, last = label[0], label[-1]
        step = (last - first) / (len(label) - 1)
        slack = 2 / (len(label) - 1)  # labels are whole numbers, at both ends; the last pixel may be cut
        assert window[1] / side - slack <= step <= window[0] / side + slack
        assert np.abs(label - (first + step * np.arange(len(label)))).max() <= 1 + step
    assert np.abs(image - label).max() <= 1 + window[0] / side  # within a pixel of the record or the scene


@given(sizes, st.integers(0, 999), st.integers(0, 99))
def test_turned_records_are_quarter_turns_of_the_same_window(shape, seed, variant):
    made = config("road", 33, 4, 100, seed)
    scene = ArrayScene(
        np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8), np.ones(shape, np.uint8)
    )
    plain = make_record(scene, "id", variant, made)
    turned = make_record(scene, "id", variant, replace(made, rotate=True))
    ways = [np.stack([np.rot90(channel, turns) for channel in plain]) for turns in range(4)]
    assert any(np.array_equal(turned, way) for way in ways)


@given(st.integers(1, 8), st.integers(1, 40), st.integers(0, 2**32 - 1))
@pytest.mark.caffe
def test_a_record_comes_back_from_its_datum(bands, side, seed):
    record = np.random.default_rng(seed).integers(0, 256, (bands + 1, side, side), np.uint8)
    for encode in ("raw", "png") if bands == 3 else ("raw",):
        np.testing.assert_array_equal(from_datum(to_datum(record, encode), "here"), record)


@settings(max_examples=20)
@given(
    st.dictionaries(
        st.text("0123456789_abc", min_size=1, max_size=12), st.binary(min_size=1, max_size=9000), max_size=20
    )
)
def test_a_database_is_read_in_the_order_of_its_keys_whatever_that_of_writing(entries):
    with tempfile.TemporaryDirectory() as folder:
        with GrowingLMDB(Path(folder)) as database:
            for key, value in entries.items():
                database.put(key, value)
        with lmdb.open(folder, readonly=True, lock=False) as database, database.begin() as reading:
            assert [(bytes(k).decode(), bytes(v)) for k, v in reading.cursor()] == sorted(entries.items())


def spans(length: int):
    """A part of an axis that is not empty."""
    return (
        st.tuples(*[st.integers(0, length)] * 2)
        .filter(lambda ends: ends[0] != ends[1])
        .map(lambda ends: slice(min(ends), max(ends)))
    )


@settings(max_examples=20)
@given(
    st.data(), st.integers(1, 40), st.integers(1, 40), st.sampled_from([np.uint8, np.uint16]), st.booleans()
)
def test_a_window_of_a_tiff_is_that_part_of_the_whole(data, height, width, kind, tiled):
    values = (
        np.random.default_rng(height * width).integers(0, np.iinfo(kind).max, (3, height, width)).astype(kind)
    )
    values[:, 0, 0] = 7
    layout = {"tiled": True, "blockxsize": 16, "blockysize": 16} if tiled else {}
    shape = {"width": width, "height": height, "count": 3, "dtype": values.dtype.name, "nodata": 7}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        place = rasterio.Affine(10, 0, 500, 0, -10, 900)
        with rasterio.open(path, "w", "GTiff", **shape, **layout, photometric="RGB", transform=place) as file:
            file.write(values)
        options = ReadOptions(stretch=(1000.0, 60000.0), fill=(1, 2, 3))
        gone = (values == 7).all(axis=0)
        expected = values.transpose(1, 2, 0)[..., ::-1].astype(float)  # blue, green, red
        if kind == np.uint16:
            expected = np.clip((expected - 1000) * 255 / 59000, 0, 255)
        expected[gone] = (1, 2, 3)
        with open_image(path, options) as image:
            for _ in range(3):
                rows, columns = data.draw(spans(height)), data.draw(spans(width))
                np.testing.assert_allclose(image.read(rows, columns), expected[rows, columns], atol=1e-2)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=60), st.data())
def test_a_stretch_puts_its_ends_to_0_and_255_and_keeps_the_order(values, data):
    low = data.draw(st.floats(-1e5, 1e5))
    high = low + data.draw(st.floats(1, 1e5))
    pixels = np.sort(np.array(values, np.float32)).reshape(-1, 1, 1)
    levels = Stretch((low,), (high,))(pixels)
    assert levels.dtype == np.float32
    expected = [min(max((value - low) * 255 / (high - low), 0), 255) for value in pixels.ravel().tolist()]
    np.testing.assert_allclose(levels.ravel(), expected, atol=0.01 + 255 * 0.05 / (high - low))
    assert (np.diff(levels.ravel()) >= 0).all()
