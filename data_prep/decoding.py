"""Strict decoding of JPEG and PNG: a damaged file is an error, never a picture with a grey lower half.

OpenCV fills what is missing and at most lets the codec print a warning on stderr. So the file's
structure is checked before decoding, and what the codec says while decoding counts.
"""

import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import rasterio
from rasterio.errors import RasterioError

from common.errors import DataError
from data_prep.geotiff import SETTINGS, one_line

MAX_PIXELS = 1 << 28  # 16384 x 16384: more is a broken header or needs a tiled reader
JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; a palette becomes RGB
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the SOFn of JPEG
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
COMPLAINTS = ("corrupt", "premature", "incomplete", "error", "unsupported", "invalid")
REMEDY = "fetch or export the file again"


def decode(data: bytes, where: object, rgb: bool = False) -> np.ndarray:
    """Decode a whole 8-bit JPEG or PNG to uint8 (H, W, 3), BGR or `rgb`; grey becomes three equal channels.

    An orientation tag is not applied: masks have none. Raises DataError, naming `where`, for a file
    that is cut off or damaged, has 16 bits a channel or four channels, or is larger than 2^28 pixels.
    """
    return _decode(data, where, cv2.IMREAD_COLOR_RGB if rgb else cv2.IMREAD_COLOR, plain=True)


def decode_as_stored(data: bytes, where: object) -> np.ndarray:
    """Decode as `decode`, but keep 16 bits and alpha: uint8 or uint16, (H, W), (H, W, 3) or BGRA (H, W, 4).

    Grey with alpha comes as BGRA, a palette as BGR or BGRA.
    """
    return _decode(data, where, cv2.IMREAD_UNCHANGED, plain=False)


def decode_plain(data: bytes, where: object) -> np.ndarray:
    """Decode as `decode`, but leave grey as it is: uint8, (H, W) or BGR (H, W, 3)."""
    return _decode(data, where, cv2.IMREAD_UNCHANGED, plain=True)


def is_one_channel_png(data: bytes) -> bool:
    """Return whether a file is a PNG of grey levels or of a palette: its values can be numbers."""
    return data.startswith(PNG_START) and data[25:26] in (b"\0", b"\3")


def decode_numbers(data: bytes, where: object) -> np.ndarray:
    """Return the stored values of a PNG of one channel, (H, W) uint8 or uint16: of a palette, its indices.

    Raises DataError as `decode` does.
    """
    shape = _check_png(data, where, plain=False)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            rasterio.Env(**SETTINGS),
            rasterio.MemoryFile(data) as file,
            file.open(driver="PNG") as picture,
        ):
            values = picture.read(1)
    except (RasterioError, ValueError) as error:
        raise DataError(where, f"is damaged ({one_line(error)})", REMEDY) from error
    if values.shape != shape:
        raise DataError(where, f"has {values.shape} pixels, its header {shape}", REMEDY)
    return values


def _decode(data: bytes, where: object, flags: int, plain: bool) -> np.ndarray:
    if data.startswith(JPEG_START):
        height, width = _check_jpeg(data, where)
    elif data.startswith(PNG_START):
        height, width = _check_png(data, where, plain)
    else:
        raise DataError(where, f"starts with {data[:4]!r}, neither JPEG nor PNG", "convert it to one of them")
    with _codec_words() as words:
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise DataError(where, f"is damaged ({error.err})", REMEDY) from error
    complaint = next((line for line in words if any(word in line.lower() for word in COMPLAINTS)), None)
    if image is None or complaint or image.shape[:2] != (height, width):
        raise DataError(where, f"is damaged ({complaint or 'the codec refuses it'})", REMEDY)
    return image


def _check_jpeg(data: bytes, where: object) -> tuple[int, int]:
    """Walk the segments from SOI to EOI; return (height, width)."""
    size, at = None, 2
    while True:
        at = _next_marker(data, at)
        if at < 0 or (at + 4 > len(data) and data[at + 1] != 0xD9):
            raise DataError(where, f"is cut off after {len(data)} bytes (no end marker)", REMEDY)
        marker = data[at + 1]
        if marker == 0xD9 and size is not None:
            return size
        length = int.from_bytes(data[at + 2 : at + 4])
        if marker == 0xD9 or length < 2:
            raise DataError(where, f"is damaged (marker {marker:02x} at byte {at})", REMEDY)
        if marker in FRAME_MARKERS and len(data) >= at + 10:
            depth, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            size = _check_header(height, width, depth, channels, where)
        at += 2 + length


def _next_marker(data: bytes, at: int) -> int:
    """Find the next marker from `at` on, skipping stuffed bytes, fill bytes and restart markers; or -1."""
    marker = MARKER.search(data, at)
    return marker.start() if marker else -1


def _check_png(data: bytes, where: object, plain: bool) -> tuple[int, int]:
    """Walk the chunks up to IEND and check their checksums; return (height, width)."""
    size, at, kind = None, len(PNG_START), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise DataError(where, f"is cut off after {len(data)} bytes (no end chunk)", REMEDY)
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise DataError(where, f"is cut off after {len(data)} bytes (in a chunk of {length})", REMEDY)
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise DataError(where, f"is damaged (checksum of the chunk at byte {at})", REMEDY)
        if kind == b"IHDR" and length == 13:
            width, height, depth, colour = struct.unpack_from(">IIBB", data, at + 8)
            size = _check_header(height, width, depth, PNG_CHANNELS.get(colour, 0), where, plain)
        at = end + 4
    if size is None:
        raise DataError(where, "is damaged (no header chunk)", REMEDY)
    return size


def _check_header(
    height: int, width: int, depth: int, channels: int, where: object, plain: bool = True
) -> tuple[int, int]:
    """Refuse, before any memory is taken, what the header says cannot be used."""
    if plain and (depth > 8 or channels not in (1, 3)):
        remedy = "convert it to 8-bit RGB without alpha (CMYK, 16 bits and alpha are refused)"
        raise DataError(where, f"has {channels} channels of {depth} bits", remedy)
    if not 0 < height * width <= MAX_PIXELS:
        raise DataError(
            where, f"is {width}x{height} pixels", f"cut it into scenes of at most {MAX_PIXELS} pixels"
        )
    return height, width


@contextmanager
def _codec_words() -> Iterator[list[str]]:
    """Collect in the yielded list the lines that native code writes to stderr meanwhile.

    The codecs report damage nowhere else. It redirects the process's file descriptor 2: decode in
    one thread per process (worker processes, not threads).
    """
    lines: list[str] = []
    with open(os.memfd_create("dfcnet-codec"), "w+b") as caught:
        saved = os.dup(2)
        try:
            os.dup2(caught.fileno(), 2)
            yield lines
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        caught.seek(0)
        lines += caught.read().decode(errors="replace").splitlines()
