"""Weights in Caffe's own file, read and written by its messages alone."""

import hashlib
from pathlib import Path

import numpy as np

from common.errors import WeightsError
from common.files import staged_file
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.model_card import card_path, weights_checksum

Weights = dict[str, list[np.ndarray]]  # layer name -> its learnt blobs, float32


def read_caffemodel(path: Path) -> Weights:
    """Return the weights of a .caffemodel by layer name; WeightsError, naming the file, for another.

    So it is where a card beside it has the checksum of other weights: the file is damaged then, or the card
    is not its own.
    """
    from google.protobuf.message import DecodeError

    net = caffe_pb2().NetParameter()
    try:
        data = Path(path).read_bytes()
        if weights_checksum(path) not in (None, hashlib.sha256(data).hexdigest()):
            remedy = "take a copy that is whole, or remove the card if it is of other weights"
            raise WeightsError(path, f"does not have the checksum of its card {card_path(path).name}", remedy)
        net.ParseFromString(data)
        del data
        weights = {layer.name: [_array(blob) for blob in layer.blobs] for layer in net.layer if layer.blobs}
    except OSError as error:
        raise WeightsError(path, f"cannot be read ({error.strerror})", "give a .caffemodel file") from error
    except (DecodeError, ValueError) as error:
        raise WeightsError(
            path, "is not a .caffemodel, or only a part of one", "fetch or train it again"
        ) from error
    if not weights:
        raise WeightsError(path, "holds no parameters by layer name", "give a .caffemodel of Caffe 1.0")
    return weights


def write_caffemodel(path: Path, name: str, weights: Weights, overwrite: bool = False) -> None:
    """Write weights by layer name as a .caffemodel of a net called `name`, in one step."""
    net = caffe_pb2().NetParameter(name=name)
    for layer, arrays in weights.items():
        blobs = net.layer.add(name=layer).blobs
        for array in arrays:
            blob = blobs.add(data=array.ravel())
            blob.shape.dim.extend(array.shape)
    with staged_file(path, overwrite) as staged:
        staged.write_bytes(net.SerializeToString())


def _array(blob) -> np.ndarray:
    """Return a BlobProto's values; files of early Caffe versions give four fixed axes instead of a shape."""
    early = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else early
    values = np.array(blob.double_data or blob.data, np.float32)
    return values.reshape(shape)
