"""The prototxts of the paper's experiments are those that the generator emits today."""

from pathlib import Path

import pytest

from prototxt_gen.emit import write_nets
from prototxt_gen.experiment import read_experiment

ROOT = Path(__file__).parents[2]
FILES = ("train.prototxt", "deploy.prototxt", "deploy_folded.prototxt", "solver.prototxt")


@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_they_are_emitted_byte_for_byte(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    written = write_nets(read_experiment(ROOT / "solvers" / f"{name}.toml"), Path("solvers", name), False)
    assert [path.name for path in written] == list(FILES)
    for path in written:
        committed = ROOT / "solvers" / name / path.name
        assert path.read_bytes() == committed.read_bytes(), f"{committed} is not up to date: run `make nets`"


@pytest.mark.caffe
@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_plain_caffe_train_takes_them_from_the_root(name):
    """Up to the databases, which are not there: Caffe names the first that it misses."""
    import importlib.util
    import subprocess

    tool = Path(importlib.util.find_spec("caffe").origin).parents[2] / "bin" / "caffe"
    text = (ROOT / "solvers" / name / "solver.prototxt").read_text()
    assert f'net: "solvers/{name}/train.prototxt"' in text
    solver = ROOT / "runs" / f".test_{name}.prototxt"
    solver.write_text(text.replace("solver_mode: GPU", "solver_mode: CPU"))
    try:
        done = subprocess.run(
            [tool, "train", "-solver", solver], capture_output=True, text=True, cwd=ROOT, check=False
        )
    finally:
        solver.unlink()
    if (ROOT / "data" / "land_train_lmdb").exists():
        pytest.skip("databases stand at the default paths: this would train")
    assert "Creating layer land_data" in done.stderr
    assert "No such file or directory" in done.stderr
