"""The recipe of Caffe, and what its build gives: quick when nothing changed, careful otherwise."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

CAFFE = Path(__file__).parents[2] / "native"


def build(*options: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [CAFFE / "build.sh", *map(str, options)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        check=False,
    )


@pytest.mark.caffe
def test_a_second_call_returns_within_a_second_and_says_nothing():
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = build()
        times.append(time.monotonic() - start)
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


@pytest.mark.caffe
@pytest.mark.skipif(not shutil.which("cmake"), reason="no compilers here, as in the images")
def test_a_tarball_of_other_files_is_refused_and_nothing_is_installed(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text("project(Other)\n")
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "CMakeLists.txt", "caffe-master/CMakeLists.txt")
    prefix = tmp_path / "prefix"
    done = build(
        "--source",
        tmp_path / "other.tar.gz",
        CAFFE_PREFIX=str(prefix),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    assert done.returncode == 1
    assert "its files are not those of BVLC Caffe 99bd997" in done.stderr
    assert re.search(r"caffe: failed at: source from .*other.tar.gz; log: \S+\.log\n$", done.stderr)
    assert not prefix.exists()


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
        assert re.match(r"[A-Z].*[.:]", purpose, re.S), patch.name
        assert [line for line in body.splitlines() if line.startswith(" ")], patch.name


@pytest.mark.caffe
def test_caffe_is_imported_without_any_variable():
    names = ("PYTHONPATH", "LD_LIBRARY_PATH", "CAFFE_PREFIX", "CAFFE_ROOT")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    code = "import caffe, numpy; print(caffe.__version__, numpy.__version__.split('.')[0], caffe.has_nccl())"
    kind = (Path(importlib.util.find_spec("caffe").origin).parents[2] / ".kind").read_text()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", env=environment, check=True
    )
    assert done.stdout == f"1.0.0 2 {kind.startswith('cuda')}\n"


@pytest.mark.caffe
def test_pycaffes_arrays_and_datums_work_with_numpy_2():
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    array = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    np.testing.assert_array_equal(caffe.io.datum_to_array(caffe.io.array_to_datum(array)), array)
    assert "Interp" in caffe.layer_type_list()


@pytest.mark.caffe
def test_the_caffe_tool_is_installed_and_starts():
    prefix = Path(importlib.util.find_spec("caffe").origin).parents[2]
    done = subprocess.run([prefix / "bin" / "caffe", "-version"], capture_output=True, text=True, check=True)
    assert "caffe version 1.0.0" in done.stdout


def test_a_prefix_with_a_blank_is_refused_before_anything_is_built(tmp_path):
    done = build(CAFFE_PREFIX=str(tmp_path / "my caffe"))
    assert done.returncode == 2
    assert "my caffe: has a blank in it" in done.stderr


def test_a_list_of_packages_that_is_not_there_is_an_error():
    done = subprocess.run(
        [CAFFE / "packages.sh", "none.txt"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "packages: none.txt: cannot be read; give a list of packages\n"


def test_packages_of_other_architectures_are_passed_over(tmp_path):
    (tmp_path / "packages.txt").write_text("no-such-package [mips hurd-i386]  # why\nbash  # [all] have it\n")
    done = subprocess.run(
        [CAFFE / "packages.sh", tmp_path / "packages.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


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
