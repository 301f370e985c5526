"""The recipe of Caffe, and what its build gives: quick when nothing changed, careful otherwise."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import children_seconds
from tests.installed_caffe import caffe_prefix
from tests.stand_ins import run, stand_in

CAFFE = Path(__file__).parents[2] / "native"
DPKG_QUERY = """
case $1 in
-W) echo -n installed ;;
--search) [[ $2 != /opt/* ]] ;;
esac
"""


def build(*options: object, **environment: str | Path) -> subprocess.CompletedProcess:
    return run(CAFFE / "build.sh", *options, **{"PYTHON": sys.executable, "CAFFE_SOURCE": "", **environment})


@pytest.fixture
def compilers(tmp_path) -> Path:
    """A folder of stand-ins, with which all packages are there."""
    stand_in(tmp_path / "stand-ins", dpkg_query=DPKG_QUERY)
    return tmp_path / "stand-ins"


@pytest.mark.caffe
def test_a_second_call_takes_less_than_a_second_and_says_nothing():
    times = []
    for _ in range(3):
        start = children_seconds()
        done = build()
        times.append(children_seconds() - start)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert min(times) < 1


def test_an_unknown_option_is_refused():
    done = build("--fast")
    assert done.returncode == 2
    assert (
        done.stderr == "caffe: unknown option --fast; usage: build.sh [--cpu | --cuda] [--source TARBALL]\n"
    )


def test_a_missing_tarball_is_refused(tmp_path):
    done = build("--source", tmp_path / "caffe.tar.gz")
    assert done.returncode == 2
    assert f"{tmp_path}/caffe.tar.gz: cannot be read" in done.stderr


def test_a_tarball_of_other_files_is_refused_and_nothing_is_installed(tmp_path, compilers):
    (tmp_path / "CMakeLists.txt").write_text("project(Other)\n")
    tarball, prefix = tmp_path / "other.tar.gz", tmp_path / "prefix"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(tmp_path / "CMakeLists.txt", "caffe-master/CMakeLists.txt")
    done = build(
        "--source", tarball, CAFFE_PREFIX=str(prefix), XDG_CACHE_HOME=str(tmp_path / "cache"), path=compilers
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"caffe: {tarball}: its files are not those of BVLC Caffe 99bd997; download https://github.com/BVLC/caffe/archive/"
    )
    assert done.stderr.count("\n") == 1
    assert not prefix.exists()


def test_without_any_source_it_is_said_what_to_download_and_where_to_put_it(tmp_path, compilers):
    """Git does not answer, and nobody listens at the mirror's port."""
    stand_in(compilers, git="exit 128", apt_get="echo http://127.0.0.1:9/debian")
    prefix, cache = tmp_path / "prefix", tmp_path / "cache"
    done = build(CAFFE_PREFIX=str(prefix), XDG_CACHE_HOME=str(cache), path=compilers)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert re.search(r"download https://github.com/BVLC/caffe/archive/99bd997\w{33}\.tar\.gz ", done.stderr)
    assert f"put it here as {cache}/dfcnet/caffe-99bd997.tar.gz, or name it: CAFFE_SOURCE=FILE" in done.stderr
    assert not prefix.exists()


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path, compilers):
    stand_in(compilers, df="echo Avail; echo 12MB", git="touch $0.called")
    done = build(
        CAFFE_PREFIX=str(tmp_path / "prefix"), XDG_CACHE_HOME=str(tmp_path / "cache"), path=compilers
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert f"{tmp_path}/cache/dfcnet: 12 MB are free there, 1000 are needed" in done.stderr
    assert not (compilers / "git.called").exists()


def test_a_python_that_is_not_the_distributions_is_refused(tmp_path, compilers):
    stand_in(
        tmp_path / "python",
        python="case $2 in *numpy*) printf '%s\\n' /tmp 3.13; ;; *) echo /opt/python/bin/python3 ;; esac",
    )
    done = build(
        PYTHON=str(tmp_path / "python" / "python"),
        CAFFE_PREFIX=str(tmp_path / "prefix"),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        path=compilers,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "is made from /opt/python/bin/python3, which is not the distribution's own Python" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("CAFFE_DNNL", "yes", "neither ON nor OFF"), ("CAFFE_OPENCV", "", "neither ON nor OFF")],
)
def test_a_switch_is_on_or_off(variable, value, words):
    done = build(**{variable: value or "1"})
    assert done.returncode == 2
    assert done.stderr == f"caffe: {variable}='{value or '1'}': is {words}\n"


def test_another_architecture_builds_without_onednn(tmp_path, compilers):
    stand_in(compilers, uname="echo aarch64")
    done = build(CAFFE_DNNL="ON", path=compilers)
    assert done.returncode == 2
    assert "aarch64: onednn.txt pins wheels for x86-64 alone; leave CAFFE_DNNL unset" in done.stderr


def test_a_prefix_with_foreign_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("chapter one")
    done = build(CAFFE_PREFIX=str(tmp_path))
    assert done.returncode == 2
    assert f"{tmp_path}: holds files that are not an installed Caffe" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_python_without_numpy_or_none_at_all_is_refused(tmp_path):
    done = build(PYTHON=str(tmp_path / "python"))
    assert done.returncode == 2
    assert "no Python there; run `make venv`" in done.stderr


def test_patches_are_numbered_say_what_they_are_for_and_carry_context():
    patches = sorted((CAFFE / "patches").iterdir())
    assert [int(patch.name[:2]) for patch in patches] == list(range(1, len(patches) + 1))
    for patch in patches:
        purpose, body = patch.read_text().split("\n--- a/", 1)
        assert re.match(r"\w.*[.:]", purpose, re.S), patch.name
        assert [line for line in body.splitlines() if line.startswith(" ")], patch.name


@pytest.mark.caffe
def test_caffe_is_imported_without_any_variable():
    names = ("PYTHONPATH", "LD_LIBRARY_PATH", "CAFFE_PREFIX", "CAFFE_ROOT")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    code = "import caffe, numpy; print(caffe.__version__, numpy.__version__.split('.')[0], caffe.has_nccl())"
    kind = (caffe_prefix() / ".kind").read_text()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", env=environment, check=True
    )
    assert done.stdout == f"1.0.0 2 {kind.startswith('cuda')}\n"


@pytest.mark.caffe
def test_one_openmp_runtime_is_loaded_whatever_predicts():
    """Two pools of threads would fight for the cores."""
    code = """
import re
from pathlib import Path
from training.pycaffe import import_caffe
import_caffe()
import cv2
try:
    import onnxruntime
except ModuleNotFoundError:
    pass
maps = Path("/proc/self/maps").read_text()
print(len(set(re.findall(r"/\\S*/lib(?:gomp|iomp5|omp)\\b\\S*", maps))))
"""
    root = CAFFE.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "1\n"


@pytest.mark.caffe
def test_pycaffes_arrays_and_datums_work_with_numpy_2():
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    array = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    np.testing.assert_array_equal(caffe.io.datum_to_array(caffe.io.array_to_datum(array)), array)
    assert "Interp" in caffe.layer_type_list()


@pytest.mark.caffe
def test_the_caffe_tool_is_installed_and_starts():
    done = subprocess.run(
        [caffe_prefix() / "bin" / "caffe", "-version"], capture_output=True, text=True, check=True
    )
    assert "caffe version 1.0.0" in done.stdout


def test_a_prefix_with_a_blank_is_refused_before_anything_is_built(tmp_path):
    done = build(CAFFE_PREFIX=str(tmp_path / "my caffe"))
    assert done.returncode == 2
    assert "my caffe: has a blank in it" in done.stderr


@pytest.mark.caffe
@pytest.mark.parametrize("images", [1, 2])
def test_the_gradient_of_scale_adds_up_over_passes(tmp_path, images):
    """With one image BVLC 1.0.0 forgot all passes of iter_size but the last."""
    from training.pycaffe import import_caffe

    (tmp_path / "net.prototxt").write_text(
        f"""force_backward: true
        layer {{ name: "x" type: "Input" top: "x"
                 input_param {{ shape {{ dim: {images} dim: 3 dim: 4 dim: 5 }} }} }}
        layer {{ name: "s" type: "Scale" bottom: "x" top: "y" scale_param {{ bias_term: true }} }}"""
    )
    caffe = import_caffe()
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    rng = np.random.default_rng(3)
    expected = np.zeros(3)
    for _ in range(3):
        x, gradient = rng.normal(size=(2, images, 3, 4, 5))
        net.blobs["x"].data[...] = x
        net.forward()
        net.blobs["y"].diff[...] = gradient
        net.backward()
        expected += (x * gradient).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(net.params["s"][0].diff, expected, rtol=1e-4, atol=1e-5)
