"""GeoTIFF scenes: windows hold what the whole file holds, nodata is ignored, the rest is refused by name."""

import hashlib

import cv2
import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import from_origin

from common.errors import DataError
from data_prep.masks import colours_from_labels
from data_prep.read_options import ReadOptions
from data_prep.records import make_record
from data_prep.scene_pixels import open_scene
from data_prep.scenes import find_scenes
from tests.datasets import LAND, MEAN, ArrayScene, changed, config, with_values

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


DATASET = with_values(LAND, {"agriculture": [10], "forest": [20]}, ignored=(300,))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "a_sat.tif", IMAGE)
    write(tmp_path / "a_mask.tif", NUMBERS)
    return tmp_path


def opened(folder, dataset=DATASET):
    [scene] = find_scenes([folder], dataset)
    return open_scene(scene, dataset, ReadOptions(fill=MEAN))


def test_windows_hold_the_pixels_in_blue_green_red(folder):
    with opened(folder) as pixels:
        assert pixels.shape == (HEIGHT, WIDTH)
        for _ in range(20):
            top, left = RNG.integers(0, HEIGHT - 30), RNG.integers(0, WIDTH - 30)
            rows, columns = slice(top, top + 30), slice(left, left + 25)
            assert (pixels.read_image(rows, columns) == IMAGE[::-1, rows, columns].transpose(1, 2, 0)).all()
            assert (pixels.read_labels(rows, columns) == LABELS[rows, columns]).all()
        assert pixels.image_sha256 == hashlib.sha256((folder / "a_sat.tif").read_bytes()).hexdigest()


def test_a_record_of_a_raster_is_that_of_the_same_arrays(folder):
    arrays = ArrayScene(np.ascontiguousarray(IMAGE[::-1].transpose(1, 2, 0)), LABELS.astype(np.uint8))
    for variant in range(6):
        made = config("land", 65, 10, 1, 2, rotate=True, class_aware=bool(variant % 2))
        with opened(folder) as pixels:
            record = make_record(pixels, "a", variant, made)
        assert (record == make_record(arrays, "a", variant, made)).all()


def test_nodata_of_mask_and_image_is_ignored(folder):
    numbers, image = NUMBERS.copy(), IMAGE.copy()
    numbers[0, :20] = 999  # in no mapping, but nodata
    image[:, :, :15] = 0
    write(folder / "a_mask.tif", numbers, nodata=999)
    write(folder / "a_sat.tif", image, nodata=0)
    expected = LABELS.copy()
    expected[:20] = expected[:, :15] = 255
    with opened(folder) as pixels:
        assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == expected).all()


def test_transparent_pixels_are_ignored(folder):
    alpha = np.full((1, HEIGHT, WIDTH), 255, np.uint8)
    alpha[0, 100:] = 0
    write(folder / "a_sat.tif", np.concatenate([IMAGE, alpha]), photometric="RGB", alpha="YES")
    expected = LABELS.copy()
    expected[100:] = 255
    with opened(folder) as pixels:
        assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == expected).all()
        assert pixels.read_image(slice(0, 5), slice(0, 7)).shape == (5, 7, 3)


def test_grey_becomes_three_equal_channels(folder):
    write(folder / "a_sat.tif", IMAGE[:1])
    with opened(folder) as pixels:
        grey = pixels.read_image(slice(0, 9), slice(0, 9))
    assert (grey == IMAGE[0, :9, :9, None]).all()


def virtual(path):
    path.write_text('<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand band="1"/></VRTDataset>')


@pytest.mark.parametrize(
    ("name", "harm", "fact"),
    [
        ("a_sat.tif", lambda path: write(path, np.repeat(IMAGE[:1], 5, 0)), "5 bands (gray, undefined"),
        ("a_sat.tif", virtual, "starts with b'<VRT', neither JPEG nor PNG"),
        ("a_mask.tif", lambda path: path.write_bytes(b"II*\0"), "is not a GeoTIFF"),
        ("a_mask.tif", lambda path: write(path, NUMBERS.astype(np.float32)), "1 band of float32"),
        ("a_mask.tif", lambda path: write(path, NUMBERS.astype(np.uint64)), "1 band of uint64"),
        ("a_mask.tif", lambda path: write(path, IMAGE.astype(np.uint16)), "3 bands of uint16"),
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
def test_what_cannot_be_used_is_named(folder, name, harm, fact):
    harm(folder / name)
    with pytest.raises(DataError, match=name) as caught, opened(folder):
        pass
    assert fact in caught.value.fact


@pytest.mark.parametrize("kind", [np.int16, np.uint32, np.int64])
def test_integers_of_every_width_are_numbers(folder, kind):
    write(folder / "a_mask.tif", NUMBERS.astype(kind))
    with opened(folder) as pixels:
        assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == LABELS).all()


def test_tiff_is_an_ending_too_and_one_mask_is_enough(folder):
    (folder / "a_sat.tif").rename(folder / "a_sat.tiff")
    (folder / "a_mask.tif").rename(folder / "a_mask.tiff")
    with opened(folder) as pixels:
        assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == LABELS).all()
    write(folder / "a_mask.tif", NUMBERS)
    with pytest.raises(DataError, match=r"a_mask\.tiff: is a mask of a beside a_mask\.tif"):
        find_scenes([folder], DATASET)


def test_numbers_without_values_in_the_data_set_are_named(folder):
    words = (
        r"a_mask\.tif: holds numbers, and nothing says .*; give the classes of deepglobe_land their values"
    )
    with pytest.raises(DataError, match=words), opened(folder, LAND):
        pass


def test_a_nodata_value_that_is_a_class_too_is_refused(folder):
    write(folder / "a_mask.tif", NUMBERS, nodata=20)
    words = r"a_mask\.tif: has the nodata value 20, which is class forest too"
    with pytest.raises(DataError, match=words), opened(folder):
        pass
    write(folder / "a_mask.tif", NUMBERS, nodata=300)  # what is ignored may be nodata
    with opened(folder) as pixels:
        assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == LABELS).all()


def test_image_and_mask_may_be_of_two_kinds(folder):
    """A picture beside a label raster, and a raster beside a mask of colours."""
    whole = slice(0, HEIGHT), slice(0, WIDTH)
    (folder / "a_sat.tif").unlink()
    cv2.imwrite(str(folder / "a_sat.png"), IMAGE[::-1].transpose(1, 2, 0))
    with opened(folder) as pixels:
        assert (pixels.read_labels(*whole) == LABELS).all()
        assert (pixels.read_image(*whole) == IMAGE[::-1].transpose(1, 2, 0)).all()
    (folder / "a_sat.png").unlink()
    (folder / "a_mask.tif").unlink()
    write(folder / "a_sat.tif", IMAGE)
    colours = colours_from_labels(LABELS.astype(np.uint8), LAND)
    cv2.imwrite(str(folder / "a_mask.png"), colours[..., ::-1])
    with opened(folder) as pixels:
        assert (pixels.read_labels(*whole) == LABELS).all()


FOUR = changed(DATASET, bands=["blue", "green", "red", "nir"])
DEEP = RNG.integers(0, 4000, (4, HEIGHT, WIDTH)).astype(np.uint16)


@pytest.mark.parametrize("bands", [("nir", "red", "green"), ("nir",), ("blue", "green", "red", "nir")])
def test_the_bands_that_an_experiment_chooses_are_read(folder, bands):
    write(folder / "a_sat.tif", DEEP, photometric="MINISBLACK")
    [scene] = find_scenes([folder], FOUR)
    with open_scene(scene, FOUR, ReadOptions(bands, FOUR.bands, stretch=(0, 4000))) as pixels:
        read = pixels.read_image(slice(0, HEIGHT), slice(0, WIDTH))
        assert pixels.read_as["bands"] == {band: FOUR.bands.index(band) + 1 for band in bands}
    expected = np.stack([DEEP[FOUR.bands.index(band)] for band in bands], axis=-1) * (255 / 4000)
    assert np.abs(read - expected).max() <= 0.501


def test_numbers_of_bands_are_those_of_the_data_sets_in_its_order(folder):
    write(folder / "a_sat.tif", DEEP[[3, 0, 1, 2]], photometric="MINISBLACK")
    [scene] = find_scenes([folder], FOUR)
    read_options = ReadOptions(("red", "nir"), FOUR.bands, (2, 3, 4, 1), (0, 4000))
    with open_scene(scene, FOUR, read_options) as pixels:
        read = pixels.read_image(slice(0, HEIGHT), slice(0, WIDTH))
    assert np.abs(read - np.stack([DEEP[2], DEEP[3]], axis=-1) * (255 / 4000)).max() <= 0.501


def test_colours_of_a_file_that_contradict_the_data_set_are_refused(folder):
    write(folder / "a_sat.tif", DEEP, photometric="RGB")  # bands 1 to 3 are red, green, blue by the file
    [scene] = find_scenes([folder], FOUR)
    words = r"a_sat\.tif: has 4 bands .*: red is band 1, by the data set it is band 3; say by --bands"
    with pytest.raises(DataError, match=words), open_scene(scene, FOUR, ReadOptions(FOUR.bands, FOUR.bands)):
        pass


@pytest.mark.parametrize(
    ("bands", "picture", "fact"),
    [
        (["pan"], IMAGE[::-1].transpose(1, 2, 0), "is a colour picture"),
        (["vv", "vh"], IMAGE[0], "is a grey picture"),
    ],
)
def test_a_picture_that_lacks_the_bands_is_refused(folder, bands, picture, fact):
    (folder / "a_sat.tif").unlink()
    cv2.imwrite(str(folder / "a_sat.png"), picture)
    dataset = changed(DATASET, bands=bands)
    [scene] = find_scenes([folder], dataset)
    read_options = ReadOptions(dataset.bands, dataset.bands)
    with (
        pytest.raises(DataError, match=rf"a_sat\.png: {fact}; give a TIFF"),
        open_scene(scene, dataset, read_options),
    ):
        pass


def test_a_grey_picture_is_the_one_band_of_its_data_set(folder):
    (folder / "a_sat.tif").unlink()
    cv2.imwrite(str(folder / "a_sat.png"), IMAGE[0])
    dataset = changed(DATASET, bands=["pan"])
    [scene] = find_scenes([folder], dataset)
    with open_scene(scene, dataset, ReadOptions(dataset.bands, dataset.bands)) as pixels:
        assert (pixels.read_image(slice(0, HEIGHT), slice(0, WIDTH)) == IMAGE[0][..., None]).all()


PIXEL = 0.5  # metres
ELSEWHERE = "lies elsewhere than its image"


def shifted(columns: float, rows: float = 0.0):
    return from_origin(500000 + columns * PIXEL, 200000 - rows * PIXEL, PIXEL, PIXEL)


@pytest.mark.parametrize(
    ("image", "mask", "fact"),
    [
        ({"crs": None}, {"crs": None, "transform": shifted(200_000)}, f"{ELSEWHERE} (200000.0 pixels away)"),
        ({}, {"crs": None, "transform": shifted(0, 40)}, f"{ELSEWHERE} (40.0 pixels away)"),
        ({"crs": None}, {"transform": shifted(3)}, f"{ELSEWHERE} (EPSG:32633, 3.0 pixels away)"),
        ({}, {"transform": shifted(0.5)}, f"{ELSEWHERE} (EPSG:32633, 0.5 pixels away)"),
        ({}, {"transform": shifted(0.5, 0.5)}, ELSEWHERE),
        ({}, {"transform": from_origin(500000, 200000, PIXEL, 1.002 * PIXEL)}, ELSEWHERE),
        ({}, {"crs": "EPSG:4326"}, ELSEWHERE),
        ({}, {"crs": 'LOCAL_CS["site",UNIT["metre",1]]'}, f"{ELSEWHERE} (LOCAL_CS"),
        ({}, {"crs": "EPSG:32633+5773"}, None),  # with heights above EGM96: the same place
        ({}, {"crs": "EPSG:25833"}, None),  # ETRS89, which PROJ takes for WGS 84
        ({}, {"transform": shifted(0.02, 0.02)}, None),  # rounding
        ({}, {"crs": None, "transform": rasterio.Affine.identity()}, None),  # does not say where it lies
        ({"crs": None, "transform": rasterio.Affine.identity()}, {}, None),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_two_rasters_of_one_scene_lie_in_one_place_whatever_says_where(folder, image, mask, fact):
    write(folder / "a_sat.tif", IMAGE, **image)
    write(folder / "a_mask.tif", NUMBERS, **mask)
    if fact is None:
        with opened(folder) as pixels:
            assert (pixels.read_labels(slice(0, HEIGHT), slice(0, WIDTH)) == LABELS).all()
        return
    with pytest.raises(DataError, match="a_mask") as caught, opened(folder):
        pass
    assert caught.value.fact.startswith(fact)


def test_ground_control_points_say_where_a_raster_lies_too(folder):
    corners = [(0, 0), (0, WIDTH), (HEIGHT, 0), (HEIGHT, WIDTH)]

    def points(moved: float) -> list[GroundControlPoint]:
        return [
            GroundControlPoint(row, column, 500000 + moved + column * PIXEL, 200000 - row * PIXEL)
            for row, column in corners
        ]

    write(folder / "a_sat.tif", IMAGE, transform=None, gcps=points(0))
    for name, options in (("of points", {"transform": None, "gcps": points(0)}), ("of a transform", {})):
        write(folder / "a_mask.tif", NUMBERS, **options)
        with opened(folder) as pixels:
            assert pixels.shape == (HEIGHT, WIDTH), name
    write(folder / "a_mask.tif", NUMBERS, transform=None, gcps=points(7 * PIXEL))
    with (
        pytest.raises(DataError, match=r"a_mask\.tif: lies elsewhere than its image .*7\.0 pixels"),
        opened(folder),
    ):
        pass


def plain_rpcs(longitude: float) -> RPC:
    """Rational polynomials that are a plain grid of 0.001 degrees a pixel, whatever the height."""
    one = [1.0] + [0.0] * 19
    return RPC(
        **{"height_off": 300, "height_scale": 500, "lat_off": 45, "lat_scale": 1, "long_off": longitude},
        **{"long_scale": 1, "line_off": 0, "line_scale": 1000, "samp_off": 0, "samp_scale": 1000},
        **{"line_den_coeff": one, "line_num_coeff": [0.0, 0.0, -1.0] + [0.0] * 17},
        **{"samp_den_coeff": one, "samp_num_coeff": [0.0, 1.0] + [0.0] * 18},
    )


def test_rasters_that_differ_in_their_rational_polynomials_alone_lie_elsewhere(folder):
    nowhere = {"transform": None, "crs": None}
    write(folder / "a_sat.tif", IMAGE, **nowhere, rpcs=plain_rpcs(10))
    for options in (
        {},
        nowhere,
        {**nowhere, "rpcs": plain_rpcs(10)},
        {**nowhere, "rpcs": plain_rpcs(10.00005)},
    ):
        write(folder / "a_mask.tif", NUMBERS, **options)
        with opened(folder) as pixels:
            assert pixels.shape == (HEIGHT, WIDTH), options
    write(folder / "a_mask.tif", NUMBERS, **nowhere, rpcs=plain_rpcs(10.003))
    with (
        pytest.raises(DataError, match=r"a_mask\.tif: lies elsewhere than its image \(3\.0 pixels away\)"),
        opened(folder),
    ):
        pass


@pytest.mark.parametrize("name", ["a_sat.tif", "a_mask.tif"])
def test_a_transform_that_gives_pixels_no_area_is_named(folder, name):
    for transform in (rasterio.Affine(0, 0, 5, 0, 0, 5), rasterio.Affine(1, 0, np.nan, 0, -1, 5)):
        write(folder / name, IMAGE if "sat" in name else NUMBERS, transform=transform)
        with pytest.raises(DataError, match=f"{name}: has pixels without an area"), opened(folder):
            pass
