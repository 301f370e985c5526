"""Caffe's messages come without its native library, and their absence is one clear error."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import DFCNetError
from prototxt_gen.caffe_proto import caffe_pb2, find_caffe_pb2

ROOT = Path(__file__).parents[2]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.caffe
def test_messages_load_without_the_native_library():
    code = (
        "import sys; from prototxt_gen.caffe_proto import caffe_pb2;"
        "print(caffe_pb2().LayerParameter(name='a').name);"
        "print('_caffe' in ' '.join(sys.modules));"
        "print(any('libcaffe' in line for line in open('/proc/self/maps')))"
    )
    assert python(code).split() == ["a", "False", "False"]


@pytest.mark.caffe
@pytest.mark.parametrize("first", ["messages", "caffe"])
def test_a_caffe_imported_before_or_after_shares_the_message_classes(first):
    lines = ["from prototxt_gen.caffe_proto import caffe_pb2; ours = caffe_pb2()", "import caffe"]
    code = "; ".join(lines if first == "messages" else lines[::-1])
    code += "; from caffe.proto import caffe_pb2 as theirs; print(ours.NetParameter is theirs.NetParameter)"
    assert python(code).split() == ["True"]


@pytest.mark.caffe
def test_messages_know_our_interp_layer():
    layer = caffe_pb2().LayerParameter(type="Interp")
    layer.interp_param.zoom_factor = 2
    assert caffe_pb2().LayerParameter.FromString(layer.SerializeToString()).interp_param.zoom_factor == 2


@pytest.fixture
def no_caffe(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "caffe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "caffe", None)
    find_caffe_pb2.cache_clear()
    yield
    find_caffe_pb2.cache_clear()


def test_without_caffe_there_are_no_messages_and_the_error_says_what_to_do(no_caffe):
    assert find_caffe_pb2() is None
    with pytest.raises(DFCNetError, match=r"caffe: is not installed in this Python; run `make caffe`"):
        caffe_pb2()


@pytest.mark.caffe
def test_the_module_is_loaded_once():
    assert find_caffe_pb2() is caffe_pb2() is sys.modules["caffe.proto.caffe_pb2"]


def test_a_package_of_the_name_without_messages_is_no_caffe(no_caffe, monkeypatch, tmp_path):
    (tmp_path / "caffe").mkdir()
    (tmp_path / "caffe" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.delitem(sys.modules, "caffe")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_caffe_pb2() is None
