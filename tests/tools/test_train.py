"""The command trains, or says in one line what to mend."""

import pytest

from solvers.pycaffe import import_caffe
from tests.conftest import refused

pytestmark = pytest.mark.caffe


def test_it_trains_and_leaves_weights_with_their_card(tiny, tmp_path, run_tool):
    done = run_tool("train.py", tiny, "--cpu")
    assert done.returncode == 0, done.stderr
    assert "iteration 6/6  loss: land" in done.stdout
    folder = tmp_path / "runs" / "tiny"
    for name in ("weights.caffemodel", "weights.json", "deploy.prototxt", "log.jsonl", "caffe.log"):
        assert (folder / name).stat().st_size
    refused(run_tool("train.py", tiny, "--cpu"), "runs/tiny: exists already", "--overwrite")


def test_gpus_that_are_not_there_are_refused(tiny, tmp_path, run_tool):
    done = run_tool("train.py", tiny, "--gpus", "0-99")
    cuda = import_caffe().has_nccl()
    refused(done, f"--gpus: {'asks for GPU 99' if cuda else 'this Caffe was built for the CPU alone'}")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_key_is_named(tiny, tmp_path, run_tool):
    tiny.write_text(tiny.read_text() + "momentun = 0.9\n")
    refused(run_tool("train.py", tiny, "--cpu"), f"{tiny}: unknown key solver.momentun", "spelling")
    assert not (tmp_path / "runs").exists()


def test_a_missing_database_is_named(tiny, tmp_path, run_tool):
    tiny.write_text(tiny.read_text().replace('"land_lmdb"', '"nowhere"'))
    refused(run_tool("train.py", tiny, "--cpu"), "nowhere: is no LMDB", "tools/build_lmdb.py land")
    assert not (tmp_path / "runs").exists()


def test_broken_weights_are_named(tiny, tmp_path, run_tool):
    (tmp_path / "w.caffemodel").write_bytes(b"\xff" * 100)
    refused(
        run_tool("train.py", tiny, "--cpu", "--weights", "w.caffemodel"), "w.caffemodel: is no .caffemodel"
    )
    assert not (tmp_path / "runs").exists()


def test_help_needs_neither_an_experiment_nor_caffe(run_tool):
    done = run_tool("train.py", "--help")
    assert done.returncode == 0
    assert "--gpus" in done.stdout
