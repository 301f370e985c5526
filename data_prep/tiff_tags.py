"""What a TIFF, or EXIF and XMP in a JPEG or PNG, say of how pixels are to be shown.

Viewers turn a picture by its orientation, and readers of arrays mostly do not: labels drawn on the one do not
lie on the other. Numbers that are not levels of red, green, blue or grey come from GDAL as if they were.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import BinaryIO
from xml.etree import ElementTree

from common.errors import DataError

PHOTOMETRIC, ORIENTATION, XMP = 262, 274, 700
WIDTH, HEIGHT, SAMPLES = 256, 257, 277  # SAMPLES: bands
UPRIGHT = (0, 1)  # 0 is what some cameras write that do not know
READ = {1: "black is 0", 2: "RGB", 3: "palette", 6: "YCbCr"}
REFUSED = {0: "white is 0", 5: "CMYK", 8: "CIELab", 32803: "the mosaic of a sensor"}
BYTE, SHORT, LONG, UNDEFINED = 1, 3, 4, 7
FORMATS = {BYTE: "B", SHORT: "H", LONG: "I"}
MAX_XMP = 1 << 24  # bytes of a packet
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
XMP_ORIENTATION = "{http://ns.adobe.com/tiff/1.0/}Orientation"


def read_tags(file: BinaryIO) -> dict[int, int]:
    """Return those of the six tags that the first directory of a TIFF, a BigTIFF or an EXIF block has.

    Of XMP, which is a text, it is the orientation that stands there, if one does.
    What is cut off or not a TIFF is left to the reader of the pixels; a tag of a type that it cannot have is
    passed over alone.
    """
    tags = {}
    with suppress(struct.error, KeyError, OverflowError, OSError):
        for tag, value in _read_tags(file):
            tags[tag] = value
    return tags


def _read_tags(file: BinaryIO) -> Iterator[tuple[int, int]]:
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}[start[:2]]
    big = struct.unpack_from(f"{order}H", start, 2)[0] == 43
    [at] = struct.unpack_from(f"{order}Q", start, 8) if big else struct.unpack_from(f"{order}I", start, 4)
    file.seek(at)
    [count] = struct.unpack(f"{order}Q" if big else f"{order}H", file.read(8 if big else 2))
    for _ in range(count):
        entry = file.read(20 if big else 12)
        tag, kind = struct.unpack_from(f"{order}HH", entry)
        if tag in (PHOTOMETRIC, ORIENTATION, WIDTH, HEIGHT, SAMPLES) and kind in FORMATS:
            yield tag, *struct.unpack_from(order + FORMATS[kind], entry, 12 if big else 8)
        elif tag == XMP and kind in (BYTE, UNDEFINED):
            length, at = struct.unpack_from(f"{order}QQ" if big else f"{order}II", entry, 4)
            following = file.tell()
            file.seek(at)
            stated = xmp_orientation(file.read(min(length, MAX_XMP)))
            file.seek(following)
            if stated is not None:
                yield XMP, stated


def xmp_orientation(packet: bytes) -> int | None:
    """Return the orientation that an XMP packet states of its image, not of one that this was made from.

    None where it states none, or is not XML.
    """
    with suppress(ElementTree.ParseError, ValueError, LookupError):
        xml = ElementTree.fromstring(packet.rstrip(b"\0"))
        rdf = next(xml.iter(f"{RDF}RDF"), xml)
        for about in rdf.findall(f"{RDF}Description"):
            stated = about.get(XMP_ORIENTATION) or about.findtext(XMP_ORIENTATION)
            if stated is not None:
                return int(stated)
    return None


def refuse_turned(tags: Mapping[int, int], where: object) -> None:
    """Raise DataError for an orientation that is not upright; XMP's counts where EXIF or TIFF state none."""
    own = tags.get(ORIENTATION)
    value = own or tags.get(XMP, 1)
    if value not in UPRIGHT:
        by = "" if own else " by XMP"
        fact = f"is to be turned or mirrored when shown (orientation {value}{by})"
        remedy = "turn its pixels and drop the tag, as `mogrify -auto-orient` does, and its labels alike"
        raise DataError(where, fact, remedy)


def refuse_other_colours(tags: Mapping[int, int], where: object) -> None:
    """Raise DataError for numbers that are not levels of grey, red, green and blue."""
    value = tags.get(PHOTOMETRIC, 1)
    if value not in READ:
        name = f" ({REFUSED[value]})" if value in REFUSED else ""
        remedy = f"convert it to one of {', '.join(READ.values())}"
        raise DataError(where, f"has the photometric interpretation {value}{name}", remedy)
