"""Tags are read one by one: what is wrong with one of them hides no other."""

import struct
from io import BytesIO

import pytest

from data_prep.tiff_tags import read_tags

PHOTOMETRIC, ORIENTATION, WIDTH = 262, 274, 256
SHORT, ASCII = 3, 2


def directory(*entries: tuple[int, int, int], count: int | None = None) -> BytesIO:
    """Return a little-endian TIFF of one directory with entries (tag, type, value)."""
    fields = b"".join(struct.pack("<HHIHH", tag, kind, 1, value, 0) for tag, kind, value in entries)
    number = struct.pack("<H", len(entries) if count is None else count)
    return BytesIO(struct.pack("<2sHI", b"II", 42, 8) + number + fields)


@pytest.mark.parametrize(
    "file",
    [
        directory((WIDTH, SHORT, 9), (ORIENTATION, SHORT, 6)),
        directory((PHOTOMETRIC, ASCII, 2), (ORIENTATION, SHORT, 6)),
        directory((ORIENTATION, SHORT, 6), (PHOTOMETRIC, ASCII, 2)),
        directory((ORIENTATION, SHORT, 6), (PHOTOMETRIC, 999, 2)),
        directory((ORIENTATION, SHORT, 6), count=5),  # cut off
    ],
)
def test_an_orientation_is_found_beside_a_tag_that_is_not_what_it_should_be(file):
    assert read_tags(file) == {ORIENTATION: 6}


@pytest.mark.parametrize("data", [b"", b"II*", b"neither TIFF nor EXIF", b"II*\0\xff\xff\xff\xff"])
def test_what_is_not_a_tiff_has_no_tags(data):
    assert read_tags(BytesIO(data)) == {}
