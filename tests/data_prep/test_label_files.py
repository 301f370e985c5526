"""Masks of both kinds give the same labels; what is neither is refused by name."""

import io

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from common.errors import DataError
from data_prep.label_files import open_map, open_truth, shrunk_shape
from data_prep.masks import colours_from_labels
from data_prep.scene_pixels import check_same_georeference
from inference.scene_maps import write_map
from tests.datasets import LAND, changed, with_values

LABELS = np.random.default_rng(2).choice([0, 1, 2, 3, 4, 5, 255], (90, 130)).astype(np.uint8)
PLACE = from_origin(500000, 200000, 0.5, 0.5)


def write_raster(path, labels=LABELS, **options):
    profile = {"driver": "GTiff", "count": 1, "height": labels.shape[0], "width": labels.shape[1]}
    profile |= {"dtype": labels.dtype, "crs": "EPSG:32633", "transform": PLACE, "nodata": 255}
    with rasterio.open(path, "w", **(profile | options)) as file:
        for band in range(1, file.count + 1):
            file.write(labels, band)
        if file.count == 1 and labels.dtype == np.uint8:
            file.write_colormap(1, {label: (*colour, 255) for label, colour in enumerate(LAND.palette)})
    return path


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_windows_and_the_shrunk_whole_of_both_kinds(tmp_path, kind):
    path = tmp_path / f"1_mask.{kind}"
    if kind == "png":
        write_map(path, LABELS, LAND)
    else:
        write_raster(path)
    with open_map(path, LAND) as labels:
        assert labels.shape == (90, 130)
        np.testing.assert_array_equal(labels.read(slice(3, 77), slice(60, 130)), LABELS[3:77, 60:130])
        np.testing.assert_array_equal(labels.shrunk(500), LABELS)
        small = labels.shrunk(65)
    assert small.shape == (45, 65)
    blocks = LABELS.reshape(45, 2, 65, 2).transpose(0, 2, 1, 3).reshape(45, 65, 4)
    assert (blocks == small[..., None]).any(axis=2).all()  # one of the four pixels, never a mean


def test_the_files_own_nodata_value_is_unknown(tmp_path):
    labels = np.where(LABELS == 255, 9, LABELS).astype(np.uint8)
    with open_map(write_raster(tmp_path / "a.tif", labels, nodata=9), LAND) as opened:
        read = opened.read(slice(0, 90), slice(0, 130))
    np.testing.assert_array_equal(read, LABELS)


def test_a_nodata_value_that_is_a_class_too_is_refused(tmp_path):
    """Its pixels would be without a class, and nobody would know."""
    words = r"a\.tif: has the nodata value 3, which is class rangeland too|is class forest too"
    tagged = ", ".join(f"{label} {name}" for label, name in enumerate(LAND.class_names))
    for tag in (None, tagged):
        path = write_raster(tmp_path / "a.tif", nodata=3)
        if tag:
            with rasterio.open(path, "r+") as file:
                file.update_tags(classes=tag)
        with pytest.raises(DataError, match=words), open_map(path, LAND):
            pass
        path = write_raster(tmp_path / "b.tif", nodata=255)  # without a class anyway
        with open_map(path, LAND) as opened:
            np.testing.assert_array_equal(opened.read(slice(0, 90), slice(0, 130)), LABELS)


def test_what_is_no_class_raster_is_named(tmp_path):
    bad = np.where(LABELS == 5, 7, LABELS)
    with (
        open_map(write_raster(tmp_path / "a.tif", bad), LAND) as labels,
        pytest.raises(DataError, match=r"a\.tif: holds 7 .*class numbers \(0, 1, .* 255\)"),
    ):
        labels.read(slice(0, 90), slice(0, 130))
    write_raster(tmp_path / "b.tif", LABELS.astype(np.float32))
    write_raster(tmp_path / "c.tif", count=3)
    np.save(tmp_path / "d.tif", colours_from_labels(LABELS, LAND), allow_pickle=False)
    (tmp_path / "d.tif.npy").rename(tmp_path / "d.tif")
    for name, words in (
        ("b", "1 band of float32"),
        ("c", "nodata value 255, which is the colour of a class too"),
        ("d", "is not a GeoTIFF"),
    ):
        with (
            pytest.raises(DataError, match=rf"{name}\.tif: .*{words}"),
            open_map(tmp_path / f"{name}.tif", LAND),
        ):
            pass


def write_colours(path, bands, seen):
    """Write red, green, blue and maybe alpha; the colour where nothing is seen is one of no class."""
    profile = {"driver": "GTiff", "count": len(bands), "height": 90, "width": 130, "dtype": "uint8"}
    options = {"crs": "EPSG:32633", "transform": PLACE, "photometric": "RGB", "alpha": "yes"}
    with rasterio.open(path, "w", **profile, **options) as file:
        for number, band in enumerate(bands, 1):
            file.write(np.where(seen | (number == 4), band, 77), number)
    return path


@pytest.mark.parametrize("alpha", [False, True])
def test_a_raster_of_the_classes_exact_colours_is_read_as_a_picture_of_them(tmp_path, alpha):
    """As GIS exports styled layers: red, green and blue, and nothing where alpha is 0."""
    colours = np.array([*LAND.palette, (0, 0, 0)], np.uint8)[np.where(LABELS == 255, 6, LABELS)]
    seen = np.ones(LABELS.shape, bool)
    seen[:20, :30] = not alpha
    bands = [*colours.transpose(2, 0, 1), *([255 * seen.astype(np.uint8)] if alpha else [])]
    with open_truth(write_colours(tmp_path / "a.tif", bands, seen), LAND) as labels:
        assert labels.shape == LABELS.shape
        rows, columns = slice(10, 77), slice(20, 130)
        expected = np.where(seen, LABELS, 255)
        np.testing.assert_array_equal(labels.read(rows, columns), expected[rows, columns])
        np.testing.assert_array_equal(labels.shrunk(500), expected)
        assert labels.georeference.crs.to_epsg() == 32633
    bands[0][40, 50] ^= 1
    with (
        open_truth(write_colours(tmp_path / "b.tif", bands, seen), LAND) as labels,
        pytest.raises(DataError, match=r"b\.tif: RGB .* is not a colour of deepglobe_land"),
    ):
        labels.read(slice(0, 90), slice(0, 130))


def test_rasters_of_two_places_are_named(tmp_path):
    other = write_raster(tmp_path / "b.tif", transform=from_origin(500010, 200000, 0.5, 0.5))
    with open_map(write_raster(tmp_path / "a.tif"), LAND) as truth, open_map(other, LAND) as predicted:
        check_same_georeference(truth, truth)
        with pytest.raises(DataError, match=r"b\.tif: lies elsewhere than the truth .*20\.0 pixels"):
            check_same_georeference(truth, predicted)


def test_rasters_of_two_places_are_named_without_a_crs_too(tmp_path):
    """A hundred kilometres apart, as two tiles of one grid are whose CRS got lost."""
    far = from_origin(600000, 200000, 0.5, 0.5)
    truth = write_raster(tmp_path / "a.tif", crs=None)
    with (
        open_map(truth, LAND) as one,
        open_map(write_raster(tmp_path / "b.tif", crs=None, transform=far), LAND) as two,
    ):
        check_same_georeference(one, one)
        with pytest.raises(
            DataError, match=r"b\.tif: lies elsewhere than the truth \(200000\.0 pixels away\)"
        ):
            check_same_georeference(one, two)


def test_shrunk_sides_keep_their_ratio_and_one_pixel():
    assert shrunk_shape((100, 50), 50) == (50, 25)
    assert shrunk_shape((20, 30), 50) == (20, 30)
    assert shrunk_shape((1, 4000), 50) == (1, 50)


INDEXED = with_values(LAND, {name: [label + 1] for label, name in enumerate(LAND.class_names)}, ignored=(0,))
INDICES = np.where(LABELS == 255, 0, LABELS + 1).astype(np.uint8)


def write_palette_png(path) -> None:
    with rasterio.open(path, "w", driver="PNG", count=1, height=90, width=130, dtype="uint8") as file:
        file.write(INDICES, 1)
        file.write_colormap(1, {value: (9 * value, 255 - value, 7, 255) for value in range(256)})


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("kind", ["grey", "palette", "16 bits"])
def test_png_masks_of_numbers_are_read_by_value(tmp_path, kind):
    path = tmp_path / "1_mask.png"
    if kind == "palette":
        write_palette_png(path)
    else:
        cv2.imwrite(str(path), INDICES.astype(np.uint16) if kind == "16 bits" else INDICES)
    with open_truth(path, INDEXED) as labels:
        np.testing.assert_array_equal(labels.read(slice(None), slice(None)), LABELS)
    lacking = with_values(LAND, {"urban": [1]})
    with pytest.raises(DataError, match=r"1_mask\.png: holds \d .*; add \d to the values of a class of"):
        open_truth(path, lacking).__enter__()


def test_colours_are_read_by_colour_where_there_are_values_too(tmp_path):
    write_map(tmp_path / "1_mask.png", LABELS, INDEXED)
    with open_truth(tmp_path / "1_mask.png", INDEXED) as labels:
        np.testing.assert_array_equal(labels.read(slice(None), slice(None)), LABELS)


def test_numbers_in_a_jpeg_are_refused(tmp_path):
    only = changed(
        INDEXED, classes=[{"name": e.name, "values": e.values} for e in INDEXED.classes], ignore={}
    )
    cv2.imwrite(str(tmp_path / "1_mask.jpg"), INDICES)
    with pytest.raises(DataError, match=r"1_mask\.jpg: is a JPEG, and the classes .* have values alone"):
        open_truth(tmp_path / "1_mask.jpg", only).__enter__()


def test_a_map_of_index_classes_comes_back_from_its_own_colours(tmp_path):
    only = changed(
        INDEXED, classes=[{"name": e.name, "values": e.values} for e in INDEXED.classes], ignore={}
    )
    write_map(tmp_path / "1_mask.png", LABELS, only)
    with open_map(tmp_path / "1_mask.png", only) as labels:
        np.testing.assert_array_equal(labels.read(slice(None), slice(None)), LABELS)


def test_black_is_no_class_of_truth_unless_the_data_set_says_so(tmp_path):
    """A map is black where the image has no data; a true mask that is black there must say so."""
    loud = changed(LAND, ignore={})
    write_map(tmp_path / "1_mask.png", LABELS, loud)
    with open_map(tmp_path / "1_mask.png", loud) as labels:
        np.testing.assert_array_equal(labels.read(slice(None), slice(None)), LABELS)
    with pytest.raises(DataError, match=r"RGB \(0, 0, 0\) is not a colour of deepglobe_land"):
        open_truth(tmp_path / "1_mask.png", loud).__enter__()


def mask_png(**options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(INDICES, "L").save(file, "PNG", **options)
    return file.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 3
    return exif


def two_pages(path):
    pages = [Image.fromarray(INDICES, "L")] * 2
    pages[0].save(path, save_all=True, append_images=pages[1:])


def scaled(path):
    with rasterio.open(write_raster(path, INDICES), "r+") as file:
        file.scales = (0.5,)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("dataset", [INDEXED, LAND], ids=["numbers", "colours"])
@pytest.mark.parametrize(
    ("name", "write", "fact"),
    [
        ("a.png", lambda path: path.write_bytes(mask_png(exif=turned())), r"orientation 3"),
        ("a.png", lambda path: path.write_bytes(mask_png(transparency=0)), "has transparency"),
        ("a.png", two_pages, "is an animation of 2 frames"),
        ("a.tif", two_pages, "has 2 pages"),
        ("a.tif", lambda path: Image.fromarray(INDICES).save(path, tiffinfo={274: 8}), "orientation 8"),
        ("a.tif", lambda path: write_raster(path, INDICES, photometric="MINISWHITE"), "white is 0"),
        ("a.tif", lambda path: write_raster(path, INDICES, compress="JPEG"), r"with loss \(JPEG\)"),
        ("a.tif", lambda path: write_raster(path, INDICES, compress="LERC", MAX_Z_ERROR=1), "with loss"),
        ("a.tif", scaled, "has scale 0.5 and offset 0: its numbers have two readings"),
    ],
)
def test_a_mask_that_can_be_read_in_two_ways_is_refused(tmp_path, dataset, name, write, fact):
    write(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: .*{fact}"), open_truth(tmp_path / name, dataset):
        pass


def test_overviews_of_means_never_reach_a_shrunk_mask(tmp_path):
    """Overviews are smaller copies inside a file; 2 would be the mean of 1 and 3."""
    numbers = np.random.default_rng(8).choice(np.array([1, 3], np.uint16), (600, 400))
    with rasterio.open(write_raster(tmp_path / "a.tif", numbers, nodata=None), "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
        assert 2 in file.read(1, out_shape=(300, 200))
    with open_truth(tmp_path / "a.tif", INDEXED) as labels:
        small = labels.shrunk(300)
    blocks = numbers.reshape(300, 2, 200, 2).transpose(0, 2, 1, 3).reshape(300, 200, 4) - 1
    assert (blocks == small[..., None]).any(axis=2).all()


def test_a_mask_saved_in_grey_is_named_where_classes_have_colours(tmp_path):
    """As grey, yellow is 226: near to the white of another class."""
    colours = cv2.cvtColor(colours_from_labels(np.ones((40, 40), np.uint8), LAND), cv2.COLOR_RGB2BGR)
    grey = cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY)
    assert (grey == 226).all()
    for name, pixels in (("a.png", grey), ("b.png", np.dstack([grey] * 3)), ("c.jpg", grey)):
        cv2.imwrite(str(tmp_path / name), pixels)
        words = rf"{name}: is grey, and classes of deepglobe_land have colours; save it as PNG in its colours"
        with pytest.raises(DataError, match=words), open_truth(tmp_path / name, LAND):
            pass
    cv2.imwrite(str(tmp_path / "d.png"), np.full((40, 40), 255, np.uint8))  # white is a class's colour
    with open_truth(tmp_path / "d.png", LAND) as labels:
        assert (labels.read(slice(None), slice(None)) == 5).all()


@pytest.mark.parametrize("shift", [0, 1])
def test_a_palette_of_the_data_sets_colours_must_say_what_its_indices_say(tmp_path, shift):
    """INDEXED has the values 1 to 6 for LAND's classes and 0 for what is ignored."""
    order = np.roll([(0, 0, 0), *LAND.palette], shift, axis=0)
    image = Image.fromarray(INDICES, "P")
    image.putpalette(order.astype(np.uint8).tobytes())
    image.save(tmp_path / "a.png")
    if shift:
        words = (
            r"a\.png: has the colours of .* as palette, and values of other classes as indices; save it as"
        )
        with pytest.raises(DataError, match=words), open_truth(tmp_path / "a.png", INDEXED):
            pass
    else:
        with open_truth(tmp_path / "a.png", INDEXED) as labels:
            np.testing.assert_array_equal(labels.read(slice(None), slice(None)), LABELS)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_masks_of_one_bit_hold_the_numbers_0_and_1(tmp_path, ending):
    bits = np.random.default_rng(4).integers(0, 2, (31, 45)).astype(bool)
    Image.fromarray(bits).save(tmp_path / f"a.{ending}")
    dataset = with_values(LAND, {"urban": [0], "water": [1]})
    with open_truth(tmp_path / f"a.{ending}", dataset) as labels:
        np.testing.assert_array_equal(labels.read(slice(0, 31), slice(0, 45)), np.where(bits, 4, 0))
