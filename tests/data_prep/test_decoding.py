"""A damaged file is an error with its name; a whole one decodes as OpenCV does, in silence."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import DataError
from data_prep.decoding import decode

PICTURE = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (90, 120, 3), np.uint8), (0, 0), 2)


def encoded(ending: str, picture: np.ndarray = PICTURE, options: tuple = ()) -> bytes:
    return cv2.imencode(ending, picture, options)[1].tobytes()


@pytest.mark.parametrize(
    "options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)]
)
def test_whole_jpegs_decode_in_silence(capfd, options):
    data = encoded(".jpg", options=options)
    reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert (decode(data, "a.jpg") == reference).all()
    assert capfd.readouterr().err == ""


def test_whole_pngs_decode_exactly():
    assert (decode(encoded(".png"), "a.png") == PICTURE).all()
    assert (decode(encoded(".png"), "a.png", rgb=True) == PICTURE[..., ::-1]).all()
    grey = encoded(".png", PICTURE[..., 0])
    assert (decode(grey, "a.png") == PICTURE[..., :1]).all()


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_cut_off_files_are_errors(capfd, ending, share):
    data = encoded(ending)
    with pytest.raises(DataError, match=r"scene\.x: (is cut off|starts with)"):
        decode(data[: int(len(data) * share)], "scene.x")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_a_jpeg_cut_in_half_with_an_end_marker_is_an_error(capfd, options):
    data = encoded(".jpg", options=options)
    cut = data[: len(data) // 2] + b"\xff\xd9"
    assert cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_COLOR) is not None  # OpenCV takes it
    capfd.readouterr()
    with pytest.raises(DataError, match="is damaged"):
        decode(cut, "a.jpg")
    assert capfd.readouterr().err == ""


def test_bytes_after_the_end_marker_do_no_harm():
    decode(encoded(".jpg") + b"\0" * 100, "a.jpg")


def test_every_flipped_byte_of_a_png_is_found():
    data = encoded(".png")
    for at in np.random.default_rng(1).integers(0, len(data), 200):
        broken = bytearray(data)
        broken[at] ^= 0x55
        with pytest.raises(DataError, match=r"a\.png"):
            decode(bytes(broken), "a.png")


def test_flipped_bytes_of_a_jpeg_give_a_picture_or_a_named_error():
    data = encoded(".jpg")
    rng = np.random.default_rng(2)
    refused = 0
    for at in rng.integers(0, len(data), 200):
        broken = bytearray(data)
        broken[at] ^= int(rng.integers(1, 256))
        try:
            assert decode(bytes(broken), "a.jpg").ndim == 3
        except DataError as error:
            refused += error.where == "a.jpg"
    assert refused > 10


@pytest.mark.parametrize(
    ("picture", "fact"),
    [
        (PICTURE.astype(np.uint16) * 257, "3 channels of 16 bits"),
        (np.dstack([PICTURE, PICTURE[..., 0]]), "4 channels of 8 bits"),
    ],
)
def test_sixteen_bits_and_alpha_are_refused(picture, fact):
    with pytest.raises(DataError, match=fact):
        decode(encoded(".png", picture), "a.png")


def test_absurd_sizes_are_refused_from_the_header():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(DataError, match="60000x60000"):
        decode(data, "a.png")


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a....", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9"])
def test_what_is_no_picture_is_an_error(data):
    with pytest.raises(DataError, match=r"a\.jpg"):
        decode(data, "a.jpg")


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["104_sat.jpg", "104_mask.png"])
def test_real_files_decode_whole_and_fail_cut(name):
    if "DFCNET_DATA" not in os.environ:
        pytest.skip("DFCNET_DATA is not set")
    data = Path(os.environ["DFCNET_DATA"], "deepglobe/road/train", name).read_bytes()
    assert decode(data, name).shape == (1024, 1024, 3)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(DataError, match=name):
            decode(data[: int(len(data) * share)], name)
