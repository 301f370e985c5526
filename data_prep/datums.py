"""Records as Caffe's Datum messages, raw or as a PNG of four channels, and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import lmdb
import numpy as np

from common.errors import DataError
from common.numbers import plural
from prototxt_gen.caffe_proto import caffe_pb2

PNG_OPTIONS = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED)  # 6 % smaller, as fast
LENGTH_DELIMITED = 2  # a field's kind in Protocol Buffers
OVERHEAD = 64  # bytes of a Datum beside its pixels, at most


def to_datum(record: np.ndarray, encode: str) -> bytes:
    """Serialise a record, uint8 (C, side, side), as a Datum; `encode` is "raw" or "png"."""
    channels, height, width = record.shape
    datum = caffe_pb2().Datum(channels=channels, height=height, width=width)
    if encode == "png":
        # Caffe's Data layer decodes four channels as they are, if force_color is off.
        datum.data = cv2.imencode(".png", np.ascontiguousarray(record.transpose(1, 2, 0)), PNG_OPTIONS)[
            1
        ].tobytes()
        datum.encoded = True
        return datum.SerializeToString(deterministic=True)
    # The same bytes with one copy of the pixels in place of three: `data` is the last field.
    field = caffe_pb2().Datum.DESCRIPTOR.fields_by_name["data"].number << 3 | LENGTH_DELIMITED
    before = datum.SerializeToString(deterministic=True)
    return b"".join([before, _varint(field), _varint(record.nbytes), np.ascontiguousarray(record).data])


def _varint(value: int) -> bytes:
    """Return a whole number as Protocol Buffers write it: seven bits a byte, the lowest first."""
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def largest_datum(channels: int, side: int) -> int:
    """Return how many bytes a Datum of a record can take: PNG adds a little where nothing compresses."""
    return channels * side**2 * 257 // 256 + 64 * side + (64 << 10) + OVERHEAD


@contextmanager
def open_datums(path: Path, remedy: str) -> Iterator[tuple[int, Iterator[tuple[str, bytes]]]]:
    """Yield how many datums an LMDB holds, and an iterator over (key, datum) in the order of the keys.

    Raises DataError where LMDB cannot read it.
    """
    try:
        with lmdb.open(str(path), readonly=True, lock=False) as database, database.begin() as reading:
            entries = ((bytes(key).decode(errors="replace"), bytes(value)) for key, value in reading.cursor())
            yield reading.stat()["entries"], entries
    except lmdb.Error as error:
        raise DataError(path, f"is not an LMDB ({error})", remedy) from error


def from_datum(data: bytes, where: object) -> np.ndarray:
    """Return the record in a serialised Datum, uint8 (C, height, width); DataError where there is none."""
    from google.protobuf.message import DecodeError

    remedy = "build the database again"
    try:
        datum = caffe_pb2().Datum.FromString(data)
    except DecodeError as error:
        raise DataError(where, "is not a Datum", remedy) from error
    if datum.encoded:
        picture = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 3 or picture.dtype != np.uint8:
            raise DataError(where, "holds a picture that cannot be decoded", remedy)
        record = picture.transpose(2, 0, 1)
    elif len(datum.data) == datum.channels * datum.height * datum.width:
        record = np.frombuffer(datum.data, np.uint8).reshape(datum.channels, datum.height, datum.width)
    else:
        raise DataError(where, f"holds {plural(len(datum.data), 'byte')}", remedy)
    if record.shape != (datum.channels, datum.height, datum.width):
        raise DataError(where, f"has shape {record.shape} in its picture", remedy)
    return record
