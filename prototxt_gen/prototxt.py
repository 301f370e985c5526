"""Prototxts of others, read before Caffe sees them: it ends the process at one that it cannot read."""

from pathlib import Path

from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.errors import NetError


def read_net(path: Path):
    """Return the NetParameter of a prototxt; raise NetError if it cannot be read."""
    from google.protobuf import text_format

    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), caffe_pb2().NetParameter())
    except OSError as error:
        raise NetError(path, f"cannot be read ({error.strerror})", "give a deploy prototxt") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        fact = f"is no prototxt ({str(error).splitlines()[0]})"
        raise NetError(path, fact, "emit it again with tools/make_net.py") from error
