"""Training's reader and prediction's give the pixels that the test wrote, whatever order its bands have."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from common.errors import DataError
from data_prep.read_options import ReadOptions
from data_prep.scene_image import open_image
from data_prep.scene_pixels import open_scene
from data_prep.scenes import find_scenes
from inference.scene_files import find_images
from tests.datasets import LAND, with_values

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
HEIGHT, WIDTH = 60, 90
RNG = np.random.default_rng(11)
RED, GREEN, BLUE, OTHER = RNG.integers(1, 256, (4, HEIGHT, WIDTH), np.uint8)
ALPHA = RNG.choice(np.array([0, 255], np.uint8), (HEIGHT, WIDTH))
MEAN = (104, 117, 124)  # of what has no data, B, G, R
BGR = np.stack([BLUE, GREEN, RED], axis=-1)
KIND = ColorInterp
DATASET = with_values(LAND, {"urban": [1]})


def write(path, bands, kinds=None, **options) -> None:
    profile = {"driver": "GTiff", "count": len(bands), "height": HEIGHT, "width": WIDTH}
    with rasterio.open(path, "w", **(profile | {"dtype": bands[0].dtype} | options)) as file:
        if kinds is not None:
            file.colorinterp = kinds
        file.write(np.stack(bands))
    with rasterio.open(path) as file:
        assert kinds is None or list(file.colorinterp) == list(kinds)


def both(folder, read_options=None) -> tuple[np.ndarray, np.ndarray]:
    """Return the one scene of a folder as training and as prediction read it, in two windows each."""
    read_options = read_options or ReadOptions()
    write(folder / "a_mask.tif", [np.ones((HEIGHT, WIDTH), np.int16)])
    [scene], [image] = find_scenes([folder], DATASET), find_images([folder], DATASET)
    assert scene.image == image.path
    columns = slice(0, 41), slice(41, WIDTH)
    read_options = replace(read_options, fill=MEAN)
    with open_scene(scene, DATASET, read_options) as pixels:
        trained = np.concatenate([pixels.read_image(slice(0, HEIGHT), part) for part in columns], axis=1)
    with open_image(image.path, read_options) as predicted:
        return trained, np.concatenate([predicted[:17], predicted[17:]])


@pytest.mark.parametrize(
    ("bands", "kinds"),
    [
        ([RED, GREEN, BLUE], [KIND.red, KIND.green, KIND.blue]),
        ([BLUE, GREEN, RED], [KIND.blue, KIND.green, KIND.red]),
        ([GREEN, OTHER, RED, BLUE], [KIND.green, KIND.undefined, KIND.red, KIND.blue]),
        ([RED, GREEN, BLUE], [KIND.gray, KIND.undefined, KIND.undefined]),
    ],
    ids=["RGB", "BGR", "GxRB", "three bands of no colour"],
)
@pytest.mark.parametrize("ending", ["tif", "tiff"])
def test_bands_go_by_the_colours_that_the_file_tells(tmp_path, bands, kinds, ending):
    write(tmp_path / f"a_sat.{ending}", bands, kinds, photometric="MINISBLACK")
    for read in both(tmp_path):
        np.testing.assert_array_equal(read, BGR)


@pytest.mark.parametrize(
    ("bands", "kinds"),
    [
        ([RED, GREEN, BLUE, ALPHA], [KIND.red, KIND.green, KIND.blue, KIND.alpha]),
        ([ALPHA, RED, GREEN, BLUE], [KIND.alpha, KIND.red, KIND.green, KIND.blue]),
        ([ALPHA, BLUE, GREEN, RED], [KIND.alpha, KIND.blue, KIND.green, KIND.red]),
    ],
    ids=["RGBA", "ARGB", "ABGR"],
)
def test_alpha_is_no_colour_and_transparent_is_the_mean_colour(tmp_path, bands, kinds):
    write(tmp_path / "a_sat.tif", bands, kinds, photometric="MINISBLACK")
    expected = np.where(ALPHA[..., None] > 0, BGR, np.uint8(MEAN))
    for read in both(tmp_path):
        np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("alpha", [False, True])
def test_grey_is_three_equal_channels(tmp_path, alpha):
    kinds = [KIND.alpha, KIND.gray] if alpha else [KIND.gray]
    write(tmp_path / "a_sat.tif", [ALPHA, RED] if alpha else [RED], kinds, photometric="MINISBLACK")
    expected = np.repeat(RED[..., None], 3, axis=2)
    if alpha:
        expected = np.where(ALPHA[..., None] > 0, expected, np.uint8(MEAN))
    for read in both(tmp_path):
        np.testing.assert_array_equal(read, expected)


def test_a_palette_is_its_colours(tmp_path):
    colours = RNG.integers(0, 256, (256, 3), np.uint8)
    with rasterio.open(
        tmp_path / "a_sat.tif", "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="uint8"
    ) as file:
        file.write_colormap(1, {value: (*colour, 255) for value, colour in enumerate(colours.tolist())})
        file.write(OTHER[None])
    for read in both(tmp_path):
        np.testing.assert_array_equal(read, colours[OTHER][..., ::-1])


def test_chosen_bands_are_taken_before_those_that_the_file_tells(tmp_path):
    bands, kinds = [OTHER, OTHER, BLUE, RED, GREEN], [KIND.red, KIND.green, KIND.blue, *[KIND.undefined] * 2]
    write(tmp_path / "a_sat.tif", bands, kinds, photometric="MINISBLACK")
    for read in both(tmp_path, ReadOptions(numbers=(4, 5, 3))):
        np.testing.assert_array_equal(read, BGR)


@pytest.mark.parametrize("stretch", [None, (500, 3000)])
def test_16_bits_are_stretched_alike_and_training_rounds_them(tmp_path, stretch):
    deep = RNG.integers(0, 4000, (3, HEIGHT, WIDTH)).astype(np.uint16)
    write(tmp_path / "a_sat.tif", list(deep))
    trained, predicted = both(tmp_path, ReadOptions(stretch=stretch))
    expected = np.empty((HEIGHT, WIDTH, 3))
    for channel, band in enumerate(deep[::-1].astype(float)):
        low, high = stretch or np.percentile(band, (2, 98))
        expected[..., channel] = np.interp(band, (low, high), (0, 255))
    np.testing.assert_allclose(predicted, expected, atol=1e-3)
    assert trained.dtype == np.uint8
    assert np.abs(trained - expected).max() <= 0.501
    np.testing.assert_array_equal(trained, np.rint(predicted))


def test_what_is_no_number_has_no_data_in_both(tmp_path):
    real = np.stack([RED, GREEN, BLUE]).astype(np.float32)
    real[1, 5:9] = np.nan
    write(tmp_path / "a_sat.tif", list(real))
    trained, predicted = both(tmp_path, ReadOptions(stretch=(0, 255)))
    expected = BGR.copy()
    expected[5:9] = MEAN
    np.testing.assert_array_equal(trained, expected)
    np.testing.assert_allclose(predicted, expected, atol=1e-3)


def test_bands_that_nobody_tells_are_refused_by_both(tmp_path):
    write(tmp_path / "a_sat.tif", [RED, GREEN, BLUE, OTHER], [KIND.gray, *[KIND.undefined] * 3])
    write(tmp_path / "a_mask.tif", [np.ones((HEIGHT, WIDTH), np.int16)])
    [scene] = find_scenes([tmp_path], DATASET)
    words = r"a_sat\.tif: has 4 bands .*; say by --bands"
    with pytest.raises(DataError, match=words), open_scene(scene, DATASET, ReadOptions()):
        pass
    with pytest.raises(DataError, match=words), open_image(scene.image, ReadOptions()):
        pass
