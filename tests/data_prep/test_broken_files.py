"""Files cut off or with bytes flipped: a right decode or a named error, never a crash, never silence.

What a right decode means: a PNG must be refused or give exactly the original pixels, since each of its
chunks carries a checksum. JPEG carries none, so a flip in its tables or its pixel data can give another
valid JPEG: there, the answer must have the header's size and type, and must be the very picture that
libjpeg decodes without a single warning. GeoTIFF carries none either, but its Deflate blocks do.
"""

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

from common.errors import DataError
from data_prep.decoding import decode, decode_numbers
from data_prep.read_options import ReadOptions
from data_prep.scene_pixels import open_scene
from data_prep.scenes import find_scenes
from tests.datasets import LAND, with_values

FLIPS = 500
CUTS = (0.1, 0.5, 0.9)
PICTURE = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (64, 80, 3), np.uint8), (0, 0), 2)
MASK = np.kron(np.random.default_rng(4).integers(0, 2, (8, 10, 3)), np.ones((8, 8, 1))).astype(np.uint8) * 255


def coded(ending: str, picture: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(ending, picture, options)[1].tobytes()


JPEGS = {
    "baseline.jpg": coded(".jpg", PICTURE),
    "progressive.jpg": coded(".jpg", PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts.jpg": coded(".jpg", PICTURE, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "grey.jpg": coded(".jpg", PICTURE[..., 0]),
}
PNGS = {
    "image.png": coded(".png", PICTURE),
    "mask.png": coded(".png", MASK),
    "grey.png": coded(".png", MASK[..., 0]),
    "bits.png": coded(".png", MASK[..., 0], cv2.IMWRITE_PNG_BILEVEL, 1),
}
FILES = JPEGS | PNGS


def flips(data: bytes, seed: int):
    """Yield the data with one byte changed, at random, each time."""
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, len(data), FLIPS):
        yield data[:at] + bytes([data[at] ^ int(rng.integers(1, 256))]) + data[at + 1 :]


@pytest.mark.parametrize("share", CUTS)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_off_is_named(capfd, name, share):
    data = FILES[name]
    with pytest.raises(DataError, match=rf"{name}: is cut off after"):
        decode(data[: int(len(data) * share)], name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", PNGS)
def test_a_flipped_byte_of_a_png_is_named(capfd, name):
    for broken in flips(PNGS[name], 1):
        with pytest.raises(DataError, match=rf"^{name}: "):
            decode(broken, name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["grey.png", "bits.png"])
def test_a_flipped_byte_of_a_mask_of_numbers_is_named(capfd, name):
    for broken in flips(PNGS[name], 5):
        with pytest.raises(DataError, match=rf"^{name}: "):
            decode_numbers(broken, name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", JPEGS)
def test_a_flipped_byte_of_a_jpeg_is_named_or_decodes_without_a_warning(capfd, name):
    refused = 0
    for broken in flips(JPEGS[name], 2):
        try:
            picture = decode(broken, name)
        except DataError as error:
            assert error.where == name
            refused += 1
            continue
        assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
        assert capfd.readouterr() == ("", "")
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        assert (picture == cv2.imdecode(np.frombuffer(broken, np.uint8), flags)).all()
        assert capfd.readouterr() == ("", "")  # libjpeg itself had nothing to say
    assert refused > FLIPS // 50
    assert capfd.readouterr() == ("", "")


def geotiff(path: Path, bands: np.ndarray, **options: object) -> bytes:
    profile = {"driver": "GTiff", "count": len(bands), "height": 64, "width": 80, "dtype": bands.dtype}
    profile |= {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16}
    with rasterio.open(path, "w", **(profile | options)) as file:
        file.write(bands)
    return path.read_bytes()


@pytest.fixture
def rasters(tmp_path):
    """Return (function that reads the whole scene, the two files' bytes by name)."""
    dataset = with_values(LAND, {"urban": [1], "water": [2]})
    names = {
        "1_sat.tif": geotiff(tmp_path / "1_sat.tif", PICTURE.transpose(2, 0, 1)),
        "1_mask.tif": geotiff(tmp_path / "1_mask.tif", (MASK[None, ..., 0] > 0).astype(np.uint16) + 1),
    }

    def read():
        everything = slice(0, 64), slice(0, 80)
        [scene] = find_scenes([tmp_path], dataset)
        with open_scene(scene, dataset, ReadOptions()) as pixels:
            assert pixels.shape == (64, 80)
            return pixels.read_image(*everything), pixels.read_labels(*everything)

    return read, names


@pytest.mark.parametrize("name", ["1_sat.tif", "1_mask.tif"])
def test_broken_geotiffs_are_named_or_read_right(capfd, tmp_path, rasters, name):
    read, files = rasters
    right = read()
    refused = 0
    cuts = [files[name][: int(len(files[name]) * share)] for share in CUTS]
    for number, broken in enumerate([*cuts, *flips(files[name], 3)]):
        (tmp_path / name).write_bytes(broken)
        try:
            image, labels = read()
        except DataError as error:
            assert str(tmp_path) in error.where
            refused += 1
        else:
            assert number >= len(CUTS)
            assert (image.shape, image.dtype) == (right[0].shape, np.uint8)
            assert (labels.shape, labels.dtype) == (right[1].shape, np.uint8)
            assert {*np.unique(labels)} <= {0, 4, 255}
    assert refused > FLIPS // 2
    assert capfd.readouterr() == ("", "")


def header_only(width: int, height: int) -> bytes:
    """Return a JPEG of that size by its header, with nothing in it."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def test_absurd_jpeg_sizes_are_refused_from_the_header():
    with pytest.raises(DataError, match=r"big\.jpg: is 65000x65000 pixels; cut it"):
        decode(header_only(65000, 65000), "big.jpg")
    with pytest.raises(DataError, match=r"big\.jpg: is 0x10 pixels"):
        decode(header_only(0, 10), "big.jpg")


def test_cmyk_is_refused_from_the_header():
    frame = struct.pack(">BHHB", 8, 8, 8, 4) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0])
    data = b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"
    with pytest.raises(DataError, match=r"cmyk\.jpg: has 4 channels of 8 bits; convert it to 8-bit RGB"):
        decode(data, "cmyk.jpg")


@pytest.mark.parametrize(
    ("picture", "fact"),
    [
        (PICTURE[..., 0].astype(np.uint16), "has 1 channels of 16 bits"),
        (PICTURE.astype(np.uint16), "has 3 channels of 16 bits"),
        (np.dstack([PICTURE, PICTURE[..., :1]]), "has 4 channels of 8 bits"),
    ],
)
def test_other_kinds_of_png_are_refused_from_the_header(picture, fact):
    with pytest.raises(DataError, match=fact):
        decode(coded(".png", picture)[:60] + b"broken", "a.png")


def test_grey_becomes_three_equal_channels():
    for name in ("grey.jpg", "grey.png", "bits.png"):
        picture = decode(FILES[name], name)
        assert picture.shape == (64, 80, 3)
        assert (picture == picture[..., :1]).all()


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["119_sat.jpg", "119_mask.png"])
def test_a_real_scene_survives_flips(name):
    data = Path(os.environ["DFCNET_DATA"], "deepglobe/land_256/train", name)
    if not data.exists():
        data = sorted(data.parent.glob("*" + name[3:]))[0]
    data = data.read_bytes()
    answers = {"right": 0, "refused": 0}
    for broken in flips(data, 4):
        try:
            assert decode(broken, name).dtype == np.uint8
            answers["right"] += 1
        except DataError as error:
            assert error.where == name
            answers["refused"] += 1
    assert sum(answers.values()) == FLIPS
