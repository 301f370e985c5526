"""What a TIFF, or an EXIF block in a JPEG or PNG, says of how its pixels are to be shown.

Viewers turn a picture by its orientation, and readers of arrays mostly do not: labels drawn on the one do not
lie on the other. Numbers that are not levels of red, green, blue or grey come from GDAL as if they were.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import BinaryIO

from common.errors import DataError

PHOTOMETRIC, ORIENTATION = 262, 274
UPRIGHT = (0, 1)  # 0 is what some cameras write that do not know
READ = {1: "black is 0", 2: "RGB", 3: "palette", 6: "YCbCr"}
REFUSED = {0: "white is 0", 5: "CMYK", 8: "CIELab", 32803: "the mosaic of a sensor"}
BYTE, SHORT, LONG = 1, 3, 4
FORMATS = {BYTE: "B", SHORT: "H", LONG: "I"}


def read_tags(file: BinaryIO) -> dict[int, int]:
    """Return those of the two tags that the first directory of a TIFF, a BigTIFF or an EXIF block has.

    What is cut off or not a TIFF is left to the reader of the pixels; a tag of a type that it cannot have is
    passed over alone.
    """
    tags = {}
    with suppress(struct.error, KeyError, OverflowError):
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
        if tag in (PHOTOMETRIC, ORIENTATION) and kind in FORMATS:
            yield tag, *struct.unpack_from(order + FORMATS[kind], entry, 12 if big else 8)


def refuse_turned(tags: Mapping[int, int], where: object) -> None:
    """Raise DataError for an orientation that is not upright."""
    value = tags.get(ORIENTATION, 1)
    if value not in UPRIGHT:
        remedy = "turn its pixels and drop the tag, as `mogrify -auto-orient` does, and its labels alike"
        raise DataError(where, f"is to be turned or mirrored when shown (orientation {value})", remedy)


def refuse_other_colours(tags: Mapping[int, int], where: object) -> None:
    """Raise DataError for numbers that are not levels of grey, red, green and blue."""
    value = tags.get(PHOTOMETRIC, 1)
    if value not in READ:
        name = f" ({REFUSED[value]})" if value in REFUSED else ""
        remedy = f"convert it to one of {', '.join(READ.values())}"
        raise DataError(where, f"has the photometric interpretation {value}{name}", remedy)
