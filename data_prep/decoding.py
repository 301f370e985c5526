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
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
import rasterio
from rasterio.errors import RasterioError

from common.errors import DataError
from common.numbers import plural
from data_prep.geotiff import SETTINGS, one_line
from data_prep.tiff_tags import MAX_XMP, XMP, read_tags, refuse_turned, xmp_orientation

MAX_PIXELS = 1 << 28  # 16384 x 16384: more is a broken header or needs a tiled reader
JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; a palette becomes RGB
GREY_ALPHA = 2  # channels
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the SOFn of JPEG
APP1, EXIF_START, XMP_START = 0xE1, b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
PNG_XMP = b"XML:com.adobe.xmp"  # keyword of its iTXt chunk
PNG_PROFILES = {f"Raw profile type {kind}".encode() for kind in ("exif", "APP1", "xmp")}  # in hexadecimal
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
COMPLAINTS = ("corrupt", "premature", "incomplete", "error", "unsupported", "invalid")
REMEDY = "fetch or export the file again"


@dataclass
class _Header:
    """What a file says of its picture: EXIF and XMP as stored, the content of PNG's tRNS chunk."""

    shape: tuple[int, int] | None = None
    depth: int = 8
    channels: int = 3
    exif: bytes = b""
    xmp: bytes = b""
    transparent: bytes | None = None
    frames: int = 1

    def take(self, block: bytes) -> None:
        """Note a block of EXIF or XMP by its beginning; of several the first counts."""
        if block.startswith(EXIF_START):
            self.exif = self.exif or block.removeprefix(EXIF_START)
        elif block.startswith(XMP_START):
            self.xmp = self.xmp or block.removeprefix(XMP_START)

    @property
    def tags(self) -> dict[int, int]:
        """The tags of both, as `read_tags` gives them."""
        stated = xmp_orientation(self.xmp)
        return read_tags(BytesIO(self.exif)) | ({} if stated is None else {XMP: stated})


def decode(data: bytes, where: object, rgb: bool = False) -> np.ndarray:
    """Decode a whole 8-bit JPEG or PNG to uint8 (H, W, 3), BGR or `rgb`; grey becomes three equal channels.

    Raises DataError, naming `where`, for a file that is cut off or damaged, has 16 bits a channel,
    transparency or four channels, is to be turned, an animation, or larger than 2^28 pixels.
    """
    header = _read_header(data, where, plain=True)
    return _decode(data, where, cv2.IMREAD_COLOR_RGB if rgb else cv2.IMREAD_COLOR, header)


def decode_as_stored(data: bytes, where: object) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode as `decode`, but keep grey, 16 bits and transparency; return (pixels, alpha).

    Pixels are uint8 or uint16, (H, W) or BGR (H, W, 3), a palette as BGR. Alpha is (H, W), 0 where a pixel is
    transparent by an alpha channel or a tRNS chunk; None without either.
    """
    header = _read_header(data, where, plain=False)
    stored = _decode(data, where, cv2.IMREAD_UNCHANGED, header)
    if stored.ndim == 2:
        return stored, _keyed(stored, header, where)
    pixels = stored[..., 0] if header.channels == GREY_ALPHA else stored[..., :3]
    return pixels, stored[..., 3] if stored.shape[2] == 4 else None


def _keyed(grey: np.ndarray, header: _Header, where: object) -> np.ndarray | None:
    """Return 0 where grey levels are those that tRNS names, which OpenCV passes over, else 255."""
    if header.transparent is None:
        return None
    if len(header.transparent) != 2:
        raise DataError(
            where, f"is damaged (a tRNS chunk of {plural(len(header.transparent), 'byte')})", REMEDY
        )
    # Fewer than 8 bits are decoded to 0-255.
    factor = 255 // (2**header.depth - 1) if header.depth < 8 else 1
    return np.where(grey == int.from_bytes(header.transparent) * factor, 0, 255).astype(np.uint8)


def stated_shape(start: bytes) -> tuple[int, int] | None:
    """Return the (height, width) that the beginning of a JPEG or PNG states, None where it has none."""
    if start.startswith(PNG_START):
        return struct.unpack_from(">II", start, 16)[::-1] if len(start) >= 24 else None
    at = 2
    while (at := _next_marker(start, at)) >= 0 and at + 9 <= len(start):
        if start[at + 1] in FRAME_MARKERS:
            return struct.unpack_from(">HH", start, at + 5)
        at += 2 + int.from_bytes(start[at + 2 : at + 4])
    return None


def is_grey_png(data: bytes) -> bool:
    """Return whether a file is a PNG of grey levels alone: its values can be numbers."""
    return data.startswith(PNG_START) and data[25:26] == b"\0"


def is_palette_png(data: bytes) -> bool:
    """Return whether a file is a PNG with a palette: its indices can be numbers."""
    return data.startswith(PNG_START) and data[25:26] == b"\3"


def decode_numbers(data: bytes, where: object) -> np.ndarray:
    """Return the stored values of a PNG of one channel, (H, W) uint8 or uint16: of a palette, its indices.

    Raises DataError as `decode` does.
    """
    header = _read_header(data, where, plain=False)
    if header.transparent is not None:
        _refuse_transparency(where)
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
    if values.shape != header.shape:
        raise DataError(where, f"has {values.shape} pixels, its header {header.shape}", REMEDY)
    return values


def _read_header(data: bytes, where: object, plain: bool) -> _Header:
    """Check a file's structure, and that there is one way to read it."""
    if data.startswith(JPEG_START):
        header = _check_jpeg(data, where)
    elif data.startswith(PNG_START):
        header = _check_png(data, where, plain)
    else:
        raise DataError(where, f"starts with {data[:4]!r}, neither JPEG nor PNG", "convert it to one of them")
    refuse_turned(header.tags, where)
    if header.frames > 1:
        raise DataError(where, f"is an animation of {header.frames} frames", "save the one that counts alone")
    if plain and header.transparent is not None:
        _refuse_transparency(where)
    return header


def _refuse_transparency(where: object) -> None:
    raise DataError(where, "has transparency (a tRNS chunk)", "save it without")


def _decode(data: bytes, where: object, flags: int, header: _Header) -> np.ndarray:
    with _codec_words() as words:
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise DataError(where, f"is damaged ({error.err})", REMEDY) from error
    complaint = next((line for line in words if any(word in line.lower() for word in COMPLAINTS)), None)
    if image is None or complaint or image.shape[:2] != header.shape:
        raise DataError(where, f"is damaged ({complaint or 'the codec refuses it'})", REMEDY)
    return image


def _check_jpeg(data: bytes, where: object) -> _Header:
    """Walk the segments from SOI to EOI."""
    header, at = _Header(), 2
    while True:
        at = _next_marker(data, at)
        if at < 0 or (at + 4 > len(data) and data[at + 1] != 0xD9):
            raise DataError(where, f"is cut off after {len(data)} bytes (no end marker)", REMEDY)
        marker = data[at + 1]
        if marker == 0xD9 and header.shape is not None:
            return header
        length = int.from_bytes(data[at + 2 : at + 4])
        if marker == 0xD9 or length < 2:
            raise DataError(where, f"is damaged (marker {marker:02x} at byte {at})", REMEDY)
        if marker in FRAME_MARKERS and len(data) >= at + 10:
            depth, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            header.shape = _check_size(height, width, depth, channels, where)
        if marker == APP1:
            header.take(data[at + 4 : at + 2 + length])
        at += 2 + length


def _next_marker(data: bytes, at: int) -> int:
    """Find the next marker from `at` on, skipping stuffed bytes, fill bytes and restart markers; or -1."""
    marker = MARKER.search(data, at)
    return marker.start() if marker else -1


def _check_png(data: bytes, where: object, plain: bool) -> _Header:
    """Walk the chunks up to IEND and check their checksums."""
    header, at, kind = _Header(), len(PNG_START), b""
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
            width, height, header.depth, colour = struct.unpack_from(">IIBB", data, at + 8)
            header.channels = PNG_CHANNELS.get(colour, 0)
            header.shape = _check_size(height, width, header.depth, header.channels, where, plain)
        elif kind == b"eXIf":
            header.take(EXIF_START + data[at + 8 : end])
        elif kind in PNG_TEXTS:
            header.take(_metadata(kind, data[at + 8 : end]))
        elif kind == b"tRNS":
            header.transparent = data[at + 8 : end]
        elif kind == b"acTL":
            header.frames = int.from_bytes(data[at + 8 : at + 12])
        at = end + 4
    if header.shape is None:
        raise DataError(where, "is damaged (no header chunk)", REMEDY)
    return header


def _metadata(kind: bytes, chunk: bytes) -> bytes:
    """Return a block of EXIF or XMP in a PNG's chunk of text, as a JPEG has it; empty for other texts.

    Before PNG had a chunk for it, ImageMagick began to write such blocks in hexadecimal, under a name and
    a length, and other programs read them so.
    """
    keyword, _, text = chunk.partition(b"\0")
    if keyword not in (PNG_XMP, *PNG_PROFILES):
        return b""
    try:
        packed = kind == b"zTXt"
        if kind == b"iTXt":
            packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[2]
        elif packed:
            text = text[1:]
        text = zlib.decompressobj().decompress(text, MAX_XMP) if packed else text
        if keyword == PNG_XMP:
            return XMP_START + text
        block = bytes.fromhex(text.split(None, 2)[2].decode("ascii"))
    except (zlib.error, IndexError, ValueError):
        return b""
    return XMP_START + block if keyword.endswith(b"xmp") and not block.startswith(XMP_START) else block


def _check_size(
    height: int, width: int, depth: int, channels: int, where: object, plain: bool = True
) -> tuple[int, int]:
    """Return (height, width); refuse, before any memory is taken, what cannot be used."""
    if plain and (depth > 8 or channels not in (1, 3)):
        remedy = "convert it to 8-bit RGB or grey without alpha"
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
