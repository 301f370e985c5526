"""GeoTIFF scenes: windows hold what the whole file holds, nodata is ignored, the rest is refused by name."""

import hashlib

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from common.errors import DataError
from data_prep.classes import TASKS
from data_prep.label_values import read_label_values
from data_prep.records import Recipe, make_record
from data_prep.scenes import ScenePixels, find_scenes, open_scene

LAND = TASKS["land"]
HEIGHT, WIDTH = 150, 210
RNG = np.random.default_rng(6)
IMAGE = RNG.integers(1, 256, (3, HEIGHT, WIDTH), np.uint8)  # R, G, B
NUMBERS = RNG.choice(np.array([10, 20, 300], np.uint16), (1, HEIGHT, WIDTH))
LABELS = np.select([NUMBERS[0] == 10, NUMBERS[0] == 20], [1, 3], 255)
PLACE = from_origin(500000, 200000, 0.5, 0.5)


def write(path, bands: np.ndarray, **options: object) -> None:
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    profile |= {"dtype": bands.dtype, "crs": "EPSG:32633", "transform": PLACE, "tiled": True}
    profile |= {"blockxsize": 64, "blockysize": 64, "compress": "lzw"}
    with rasterio.open(path, "w", **(profile | options)) as file:
        file.write(bands)


@pytest.fixture
def values(tmp_path):
    (tmp_path / "mapping.toml").write_text('[values]\n10 = "agriculture"\n20 = "forest"\n300 = "ignore"\n')
    return read_label_values(tmp_path / "mapping.toml", LAND)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "a_sat.tif", IMAGE)
    write(tmp_path / "a_mask.tif", NUMBERS)
    return tmp_path


def opened(folder, values):
    [scene] = find_scenes([folder])
    return open_scene(scene, LAND, values)


def test_windows_hold_the_pixels_in_blue_green_red(folder, values):
    with opened(folder, values) as pixels:
        assert pixels.shape == (HEIGHT, WIDTH)
        for _ in range(20):
            top, left = RNG.integers(0, HEIGHT - 30), RNG.integers(0, WIDTH - 30)
            rows, columns = slice(top, top + 30), slice(left, left + 25)
            assert (pixels.read_image(rows, columns) == IMAGE[::-1, rows, columns].transpose(1, 2, 0)).all()
            assert (pixels.read_labels(rows, columns) == LABELS[rows, columns]).all()
        assert pixels.image_sha256 == hashlib.sha256((folder / "a_sat.tif").read_bytes()).hexdigest()


def test_a_record_of_a_raster_is_that_of_the_same_arrays(folder, values):
    arrays = ScenePixels(
        np.ascontiguousarray(IMAGE[::-1].transpose(1, 2, 0)), LABELS.astype(np.uint8), "", ""
    )
    for variant in range(6):
        recipe = Recipe("land", 65, 10, 1, 2, rotate=True, class_aware=bool(variant % 2))
        with opened(folder, values) as pixels:
            record = make_record(pixels, "a", variant, recipe)
        assert (record == make_record(arrays, "a", variant, recipe)).all()


def test_nodata_of_mask_and_image_is_ignored(folder, values):
    numbers, image = NUMBERS.copy(), IMAGE.copy()
    numbers[0, :20] = 999  # in no mapping, but nodata
    image[:, :, :15] = 0
    write(folder / "a_mask.tif", numbers, nodata=999)
    write(folder / "a_sat.tif", image, nodata=0)
    expected = LABELS.copy()
    expected[:20] = expected[:, :15] = 255
    with opened(folder, values) as pixels:
        assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == expected).all()


def test_transparent_pixels_are_ignored(folder, values):
    alpha = np.full((1, HEIGHT, WIDTH), 255, np.uint8)
    alpha[0, 100:] = 0
    write(folder / "a_sat.tif", np.concatenate([IMAGE, alpha]), photometric="RGB", alpha="YES")
    expected = LABELS.copy()
    expected[100:] = 255
    with opened(folder, values) as pixels:
        assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == expected).all()
        assert pixels.read_image(slice(0, 5), slice(0, 7)).shape == (5, 7, 3)


def test_grey_becomes_three_equal_channels(folder, values):
    write(folder / "a_sat.tif", IMAGE[:1])
    with opened(folder, values) as pixels:
        grey = pixels.read_image(slice(0, 9), slice(0, 9))
    assert (grey == IMAGE[0, :9, :9, None]).all()


def virtual(path):
    path.write_text('<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand band="1"/></VRTDataset>')


@pytest.mark.parametrize(
    ("name", "harm", "fact"),
    [
        ("a_sat.tif", lambda path: write(path, np.repeat(IMAGE[:1], 5, 0)), "5 bands (gray, undefined"),
        ("a_sat.tif", virtual, "is no GeoTIFF"),
        ("a_mask.tif", lambda path: path.write_bytes(b"II*\0"), "is no GeoTIFF"),
        ("a_mask.tif", lambda path: write(path, NUMBERS.astype(np.float32)), "1 bands of float32"),
        ("a_mask.tif", lambda path: write(path, NUMBERS.astype(np.uint64)), "1 bands of uint64"),
        ("a_mask.tif", lambda path: write(path, IMAGE), "3 bands of uint8"),
        ("a_mask.tif", lambda path: write(path, NUMBERS[:, 1:]), "is 210x149, its image 210x150"),
        (
            "a_mask.tif",
            lambda path: write(path, NUMBERS, transform=from_origin(500003, 200000, 0.5, 0.5)),
            "lies elsewhere than its image",
        ),
        ("a_mask.tif", lambda path: write(path, NUMBERS, crs="EPSG:32634"), "lies elsewhere than its image"),
        (
            "a_sat.tif",
            lambda path: write(path, np.zeros((1, 9, (1 << 20) + 1), np.uint8), tiled=False),
            "is 1048577x9 pixels",
        ),
    ],
)
def test_what_cannot_be_used_is_named(folder, values, name, harm, fact):
    harm(folder / name)
    with pytest.raises(DataError, match=name) as caught, opened(folder, values):
        pass
    assert fact in caught.value.fact


@pytest.mark.parametrize("kind", [np.int16, np.uint32, np.int64])
def test_integers_of_every_width_are_numbers(folder, values, kind):
    write(folder / "a_mask.tif", NUMBERS.astype(kind))
    with opened(folder, values) as pixels:
        assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == LABELS).all()


def test_tiff_is_an_ending_too_and_one_mask_is_enough(folder, values):
    (folder / "a_sat.tif").rename(folder / "a_sat.tiff")
    (folder / "a_mask.tif").rename(folder / "a_mask.tiff")
    with opened(folder, values) as pixels:
        assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == LABELS).all()
    write(folder / "a_mask.tif", NUMBERS)
    with pytest.raises(DataError, match=r"a_mask\.tiff: is a mask of a beside a_mask\.tif"):
        find_scenes([folder])


def test_numbers_without_a_mapping_are_named(folder):
    with (
        pytest.raises(DataError, match=r"a_mask\.tif: holds numbers; say by --mapping"),
        opened(folder, None),
    ):
        pass


def test_a_raster_needs_a_raster_for_its_mask(folder):
    (folder / "a_mask.tif").rename(folder / "a_mask.png")
    with pytest.raises(DataError, match=r"a_sat\.tif: has no mask a_mask\.tif"):
        find_scenes([folder])
