"""Datums as Caffe reads them."""

import numpy as np
import pytest

from data_prep.datums import to_datum
from prototxt_gen.caffe_proto import caffe_pb2


@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 5, 7), (2, 11, 12), (9, 130, 129)])
def test_a_raw_datum_has_the_bytes_that_protobuf_itself_writes(shape):
    record = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for pixels in (record, np.rot90(record, axes=(1, 2))):
        channels, height, width = pixels.shape
        message = caffe_pb2().Datum(channels=channels, height=height, width=width, data=pixels.tobytes())
        assert to_datum(pixels, "raw") == message.SerializeToString(deterministic=True)
