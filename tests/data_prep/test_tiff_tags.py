"""Tags are read one by one: what is wrong with one of them hides no other."""

import struct
from io import BytesIO

import pytest

from common.errors import DataError
from data_prep.tiff_tags import read_tags, refuse_turned, xmp_orientation

PHOTOMETRIC, ORIENTATION, WIDTH, XMP = 262, 274, 256, 700
SHORT, ASCII, BYTE, UNDEFINED = 3, 2, 1, 7


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
    assert {tag: value for tag, value in read_tags(file).items() if tag != WIDTH} == {ORIENTATION: 6}


@pytest.mark.parametrize("data", [b"", b"II*", b"neither TIFF nor EXIF", b"II*\0\xff\xff\xff\xff"])
def test_what_is_not_a_tiff_has_no_tags(data):
    assert read_tags(BytesIO(data)) == {}


def packet(description: str, tiff: str = "tiff") -> bytes:
    """Return an XMP packet as cameras and editors write it, with room behind it."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="x"/>'
        f'<rdf:Description rdf:about="" xmlns:{tiff}="http://ns.adobe.com/tiff/1.0/" {description}'
        '</rdf:RDF></x:xmpmeta>          <?xpacket end="w"?>'
    ).encode() + b"\0\0"


PANTRY = (
    "><x:of xmlns:x='x'><rdf:Bag><rdf:li><rdf:Description tiff:Orientation='6'/></rdf:li></rdf:Bag></x:of>"
    "</rdf:Description>"
)


@pytest.mark.parametrize(
    ("xmp", "value"),
    [
        (packet('tiff:Orientation="6"/>'), 6),
        (packet("><tiff:Orientation>8</tiff:Orientation></rdf:Description>"), 8),
        (packet('t:Orientation="1"/>', "t"), 1),
        (packet('tiff:Make="x"/>'), None),
        (packet('tiff:Orientation="up"/>'), None),
        (packet(PANTRY), None),  # of an image that this one was made from
        (packet('tiff:Orientation="6">'), None),  # not XML
        (b"", None),
    ],
)
def test_the_orientation_in_xmp_is_that_of_the_image_itself(xmp, value):
    assert xmp_orientation(xmp) == value


@pytest.mark.parametrize("kind", [BYTE, UNDEFINED])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_packet_of_a_tiff_is_found_behind_its_directory(order, big, kind):
    xmp = packet('tiff:Orientation="6"/>')
    mark = b"II" if order == "<" else b"MM"
    if big:
        start = mark + struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, 2)
        at = 16 + 8 + 2 * 20
        entries = struct.pack(f"{order}HHQQ", XMP, kind, len(xmp), at)
        entries += struct.pack(f"{order}HHQHHI", 999, SHORT, 1, 5, 0, 0)
    else:
        start = mark + struct.pack(f"{order}HIH", 42, 8, 2)
        at = 8 + 2 + 2 * 12
        entries = struct.pack(f"{order}HHII", XMP, kind, len(xmp), at)
        entries += struct.pack(f"{order}HHIHH", ORIENTATION, SHORT, 1, 1, 0)
    assert read_tags(BytesIO(start + entries + xmp)) == {XMP: 6} | ({} if big else {ORIENTATION: 1})


def test_the_orientation_in_xmp_counts_where_the_tag_says_nothing():
    for tags in ({}, {ORIENTATION: 1, XMP: 6}, {ORIENTATION: 1}, {XMP: 1}, {ORIENTATION: 0}):
        refuse_turned(tags, "a.jpg")
    for tags in ({XMP: 6}, {ORIENTATION: 0, XMP: 6}):  # 0: not known
        with pytest.raises(DataError, match=r"a\.jpg: is to be turned .* \(orientation 6 by XMP\)"):
            refuse_turned(tags, "a.jpg")
