"""Snapshots are whole or not there; the newest and the best are kept; broken ones are passed over."""

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.datasets import read_dataset
from common.errors import RunError
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.model_card import ModelCard, read_card
from training import snapshots

pytestmark = pytest.mark.caffe
FILES = ["manifest.json", "solver.solverstate", "weights.caffemodel", "weights.json"]


class FakeSolver:
    """Writes what Caffe writes, where Caffe writes it."""

    def __init__(self, folder, iteration: int) -> None:
        blob = SimpleNamespace(count=1000, data=np.full(1000, iteration, np.float32))
        self.iter, self.net = iteration, SimpleNamespace(params={"conv1": [blob]})
        self.prefix, self.cut = folder / ".caffe", ""

    def snapshot(self) -> None:
        path = f"{self.prefix}_iter_{self.iter}"
        weights = {"conv1": [np.full(1000, self.iter, np.float32)]}
        write_caffemodel(Path(f"{path}.caffemodel"), "net", weights)
        if self.cut == "weights":
            os.truncate(f"{path}.caffemodel", 3000)
        state = caffe_pb2().SolverState(iter=self.iter, learned_net=f"{path}.caffemodel", current_step=0)
        state.history.add(data=[1.0, 2.0])
        with open(f"{path}.solverstate", "wb") as file:
            file.write(state.SerializeToString()[: -4 if self.cut == "state" else None])


def card(iteration: int) -> ModelCard:
    tasks = {"land": read_dataset("deepglobe_land")}
    given = {"mean": (1.0, 2.0, 3.0), "scale": 0.5, "crop": 33, "tasks": tasks}
    return ModelCard(experiment="net", model="dfcnet", iteration=iteration, **given)


def write(folder, iteration: int, score: float | None = None) -> snapshots.Snapshot:
    return snapshots.write(FakeSolver(folder, iteration), folder, 2, card(iteration), score)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_snapshot_holds_weights_their_card_state_and_their_checksums(tmp_path):
    made = write(tmp_path, 400, score=0.5)
    assert names(tmp_path) == ["iter_00000400"]
    assert names(made.folder) == FILES
    assert read_card(made.weights) == card(400)
    assert snapshots.read(made.folder) == made
    assert read_caffemodel(made.weights)["conv1"][0][0] == 400
    state = caffe_pb2().SolverState.FromString(made.state.read_bytes())
    assert (state.iter, list(state.history[0].data)) == (400, [1.0, 2.0])
    assert not state.HasField("learned_net")  # no path in it: the folder can be moved


@pytest.mark.parametrize("file", FILES)
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
    with pytest.raises(
        RunError, match=r"0\.0 MB are free, a snapshot needs 0\.0 MB \(iteration 2\); make room"
    ):
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


@pytest.mark.parametrize("part", ["state", "weights"])
def test_what_caffe_wrote_in_part_is_noticed(tmp_path, part):
    solver = FakeSolver(tmp_path, 3)
    solver.cut = part
    with pytest.raises(
        RunError, match=rf"iteration 3 cannot be written \(the {part} that Caffe wrote (is|are) cut off\)"
    ):
        snapshots.write(solver, tmp_path, 1, card(3))
    assert names(tmp_path) == []


def test_the_manifest_tells_iteration_ranks_and_score(tmp_path):
    manifest = json.loads((write(tmp_path, 9, 0.25).folder / "manifest.json").read_text())
    assert (manifest["iteration"], manifest["ranks"], manifest["score"]) == (9, 2, 0.25)
    assert set(manifest["sha256"]) == {"weights.caffemodel", "weights.json", "solver.solverstate"}


def test_a_snapshot_of_before_there_were_cards_is_read(tmp_path):
    made = write(tmp_path, 5)
    (made.folder / "weights.json").unlink()
    path = made.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sha256"]["weights.json"]
    path.write_text(json.dumps(manifest))
    assert snapshots.newest(tmp_path, pytest.fail) == made
    assert read_card(made.weights) is None


def test_broken_snapshots_later_than_the_one_gone_on_from_are_dropped(tmp_path):
    """Else they would count as the newest, and the whole ones would be removed for them."""
    for iteration in (100, 200, 300):
        write(tmp_path, iteration)
    snapshots.drop_after(tmp_path, 200)
    assert names(tmp_path) == ["iter_00000100", "iter_00000200"]


def test_a_score_is_added_to_the_manifest(tmp_path):
    made = write(tmp_path, 5)
    snapshots.add_score(made, 0.75)
    assert snapshots.read(made.folder).score == 0.75


def test_a_copy_under_another_name_is_let_alone(tmp_path):
    """As `cp -r iter_00000100 iter_00000100_good`, by somebody who wants to keep it."""
    for iteration in (100, 200, 300):
        write(tmp_path, iteration)
    copies = ["iter_00000100_good", "iter_best", "iter_99999999.bak"]
    for name in copies:
        shutil.copytree(tmp_path / "iter_00000100", tmp_path / name)
    assert snapshots.newest(tmp_path, pytest.fail).iteration == 300
    snapshots.drop_after(tmp_path, 200)
    assert names(tmp_path) == sorted([*copies, "iter_00000100", "iter_00000200"])
    snapshots.prune(tmp_path, keep=1)
    assert names(tmp_path) == sorted([*copies, "iter_00000200"])


def test_a_score_that_is_no_number_is_not_the_best(tmp_path):
    for iteration, score in ((1, float("nan")), (2, 0.5), (3, None), (4, 0.2)):
        write(tmp_path, iteration, score)
    snapshots.prune(tmp_path, keep=1)
    assert names(tmp_path) == ["iter_00000002", "iter_00000004"]


def test_the_newest_is_that_of_the_highest_iteration_whatever_the_digits(tmp_path):
    for iteration in (99_999_999, 100_000_000):
        write(tmp_path, iteration)
    assert snapshots.newest(tmp_path, pytest.fail).iteration == 100_000_000
