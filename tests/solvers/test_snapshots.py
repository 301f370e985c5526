"""Snapshots are whole or not there; the newest and the best are kept; broken ones are passed over."""

import json
import os
import shutil
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.errors import RunError
from solvers import snapshots

pytestmark = pytest.mark.caffe


class FakeSolver:
    """Writes what Caffe writes, where Caffe writes it."""

    def __init__(self, folder, iteration: int) -> None:
        blob = SimpleNamespace(count=1000, data=np.ones(1000))
        self.iter, self.net = iteration, SimpleNamespace(params={"conv1": [blob]})
        self.prefix, self.cut = folder / ".caffe", False

    def snapshot(self) -> None:
        path = f"{self.prefix}_iter_{self.iter}"
        with open(f"{path}.caffemodel", "wb") as file:
            file.write(b"weights %d" % self.iter)
        state = caffe_pb2().SolverState(iter=self.iter, learned_net=f"{path}.caffemodel", current_step=0)
        state.history.add(data=[1.0, 2.0])
        with open(f"{path}.solverstate", "wb") as file:
            file.write(state.SerializeToString()[: -4 if self.cut else None])


def write(folder, iteration: int, score: float | None = None) -> snapshots.Snapshot:
    return snapshots.write(FakeSolver(folder, iteration), folder, ranks=2, score=score)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_snapshot_holds_weights_state_and_their_checksums(tmp_path):
    made = write(tmp_path, 400, score=0.5)
    assert names(tmp_path) == ["iter_00000400"]
    assert names(made.folder) == ["manifest.json", "solver.solverstate", "weights.caffemodel"]
    assert snapshots.read(made.folder) == made
    assert made.weights.read_bytes() == b"weights 400"
    state = caffe_pb2().SolverState.FromString(made.state.read_bytes())
    assert (state.iter, list(state.history[0].data)) == (400, [1.0, 2.0])
    assert not state.HasField("learned_net")  # no path in it: the folder can be moved


@pytest.mark.parametrize("file", ["manifest.json", "solver.solverstate", "weights.caffemodel"])
@pytest.mark.parametrize("harm", ["remove", "cut", "change"])
def test_a_broken_snapshot_is_passed_over_and_named(tmp_path, file, harm):
    write(tmp_path, 100)
    path = write(tmp_path, 200).folder / file
    content = path.read_bytes()
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-2] if harm == "cut" else b"X" + content[1:])
    said = []
    assert snapshots.newest(tmp_path, said.append).iteration == 100
    assert len(said) == 1
    assert "iter_00000200" in said[0]


def test_without_any_there_is_none(tmp_path):
    assert snapshots.newest(tmp_path, pytest.fail) is None


def test_the_newest_and_the_best_are_kept(tmp_path):
    for iteration, score in ((1, 0.1), (2, 0.9), (3, None), (4, 0.2), (5, 0.3)):
        write(tmp_path, iteration, score)
        snapshots.prune(tmp_path, keep=2)
    assert names(tmp_path) == ["iter_00000002", "iter_00000004", "iter_00000005"]


def test_a_second_snapshot_of_one_iteration_replaces_the_first(tmp_path):
    write(tmp_path, 7, 0.1)
    assert snapshots.read(write(tmp_path, 7, 0.2).folder).score == 0.2
    assert names(tmp_path) == ["iter_00000007"]


def test_what_an_interrupted_write_has_left_is_removed(tmp_path):
    (tmp_path / ".iter_00000003").mkdir()
    (tmp_path / ".iter_00000003" / "weights.caffemodel").write_bytes(b"half")
    (tmp_path / ".caffe_iter_3.caffemodel").write_bytes(b"half")
    write(tmp_path, 5)
    assert names(tmp_path) == ["iter_00000005"]


def test_a_disk_without_room_is_told_before_caffe_writes(tmp_path, monkeypatch):
    write(tmp_path, 1)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 9000))
    with pytest.raises(RunError, match=r"0 MB are free, a snapshot needs 0 MB \(iteration 2\); make room"):
        write(tmp_path, 2)
    assert names(tmp_path) == ["iter_00000001"]


def test_a_disk_that_fills_up_leaves_the_older_snapshot(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"iteration 2 cannot be written \(No space left on device\)"):
        write(tmp_path, 2)
    monkeypatch.undo()
    assert names(tmp_path) == ["iter_00000001"]
    assert snapshots.newest(tmp_path, pytest.fail).iteration == 1


def test_a_state_that_caffe_wrote_in_part_is_noticed(tmp_path):
    solver = FakeSolver(tmp_path, 3)
    solver.cut = True
    with pytest.raises(
        RunError, match=r"iteration 3 cannot be written \(the state that Caffe wrote is cut off\)"
    ):
        snapshots.write(solver, tmp_path, ranks=1)
    assert names(tmp_path) == []


def test_the_manifest_tells_iteration_ranks_and_score(tmp_path):
    manifest = json.loads((write(tmp_path, 9, 0.25).folder / "manifest.json").read_text())
    assert (manifest["iteration"], manifest["ranks"], manifest["score"]) == (9, 2, 0.25)
    assert set(manifest["sha256"]) == {"weights.caffemodel", "solver.solverstate"}
