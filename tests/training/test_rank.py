"""Ranks on several GPUs, as far as a machine without any can tell: who does what, and in which order."""

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import OutputError
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.experiment import read_experiment
from training import rank as module
from training.communicators import LocalCommunicator
from training.rank import RankOptions
from training.run import Run, open_run

pytestmark = pytest.mark.caffe
WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


class Parent:
    """The other end of a rank's pipe."""

    def __init__(self) -> None:
        self.sent = []

    def send(self, message: tuple) -> None:
        self.sent.append(message)

    def recv(self) -> bytes | bool:
        return False if self.sent and self.sent[-1][0] == "sync" else b"id of rank 0"


class FakeCaffe:
    """What pycaffe does, without a GPU: like pycaffe, callbacks are kept without owning them."""

    cut_off = False  # whether weights are written in part

    def __init__(self, layer_wise_reduce: bool) -> None:
        self.calls = []
        fake = self

        class NCCL:
            @staticmethod
            def new_uid() -> bytes:
                return b"id of rank 0"

            def __init__(self, solver: object, uid: bytes) -> None:
                fake.calls.append(("NCCL", uid))
                fake.nccl = weakref.ref(self)

            def bcast(self) -> None:
                fake.calls.append(("bcast",))

        self.NCCL = NCCL
        for name in ("set_device", "set_mode_gpu", "set_solver_count", "set_solver_rank", "set_multiprocess"):
            setattr(self, name, lambda *args, name=name: self.calls.append((name, *args)))
        loss = SimpleNamespace(data=0.5)
        net = SimpleNamespace(
            outputs=["land_loss", "road_loss"],
            blobs={"land_loss": loss, "road_loss": loss},
            params={"conv1": [SimpleNamespace(data=WEIGHTS)]},
            layers=[],
            before_forward=lambda call: None,
            after_forward=lambda call: None,
            after_backward=lambda nccl: self.calls.append(("after_backward",)),
            save=lambda path: write_caffemodel(Path(path), "net", {"conv1": [WEIGHTS]}, overwrite=True),
        )
        if self.cut_off:
            net.save = lambda path: Path(path).write_bytes(b"\x0a\xff")
        self.solver = SimpleNamespace(
            iter=0,
            lr=0.1,
            net=net,
            param=SimpleNamespace(layer_wise_reduce=layer_wise_reduce),
            add_callback=lambda nccl: self.calls.append(("add_callback",)),
            step=self.step,
        )

    def get_solver(self, path: str) -> SimpleNamespace:
        self.calls.append(("get_solver",))
        return self.solver

    def step(self, number: int) -> None:
        gc.collect()
        self.calls.append(("step", self.nccl() is not None))
        self.solver.iter += number


def train(
    tiny: Path, monkeypatch, number: int, layer_wise_reduce: bool = True
) -> tuple[FakeCaffe, Parent, Run]:
    tiny.write_text(tiny.read_text().replace("batch_size = 4", "batch_size = 8"))
    run = open_run(read_experiment(tiny), tiny.parent / "run", ranks=2, gpu=True)
    caffe, parent = FakeCaffe(layer_wise_reduce), Parent()
    monkeypatch.setattr(module, "import_caffe", lambda verbose: caffe)
    monkeypatch.setattr(module, "_snapshot", lambda *_: None)
    module._train(run, RankOptions(gpu=number + 4), LocalCommunicator(number, 2, parent), parent)
    return caffe, parent, run


@pytest.mark.parametrize("number", [0, 1])
def test_what_sums_the_gradients_lives_as_long_as_the_solver_steps(tiny, monkeypatch, number):
    caffe, _, _ = train(tiny, monkeypatch, number)
    assert [call for call in caffe.calls if call[0] == "step"] == [("step", True)] * 6


@pytest.mark.parametrize("number", [0, 1])
def test_a_rank_knows_its_place_before_its_solver_is_made(tiny, monkeypatch, number):
    caffe, _, _ = train(tiny, monkeypatch, number)
    assert caffe.calls[:9] == [
        ("set_device", number + 4),
        ("set_mode_gpu",),
        ("set_solver_count", 2),
        ("set_solver_rank", number),
        ("set_multiprocess", True),
        ("get_solver",),
        ("NCCL", b"id of rank 0"),
        ("bcast",),
        ("add_callback",),
    ]


@pytest.mark.parametrize("layer_wise", [True, False])
def test_layers_are_summed_one_by_one_only_where_the_solver_says_so(tiny, monkeypatch, layer_wise):
    caffe, _, _ = train(tiny, monkeypatch, 0, layer_wise)
    assert (("after_backward",) in caffe.calls) == layer_wise


def test_only_rank_0_gives_the_id_reports_and_saves(tiny, monkeypatch):
    _, parent, run = train(tiny, monkeypatch, 0)
    assert parent.sent[0] == ("uid", b"id of rank 0")
    each, with_snapshot = ["step", "sync"], ["step", "sync", "snapshot"]
    kinds = [message[0] for message in parent.sent]
    assert kinds == ["uid", "ready", *each * 3, *with_snapshot, *each, *with_snapshot, "done"]
    np.testing.assert_array_equal(read_caffemodel(run.weights)["conv1"][0], WEIGHTS)


def test_final_weights_that_a_full_disk_has_cut_off_are_an_error_and_are_not_kept(tiny, monkeypatch):
    """Caffe does not notice a full disk."""
    monkeypatch.setattr(FakeCaffe, "cut_off", True)
    with pytest.raises(OutputError, match=r"weights\.caffemodel: cannot be written \(the weights that Caffe"):
        train(tiny, monkeypatch, 0)
    assert not (tiny.parent / "run" / "weights.caffemodel").exists()


def test_another_rank_only_keeps_in_step(tiny, monkeypatch):
    _, parent, run = train(tiny, monkeypatch, 1)
    assert parent.sent == [("sync", iteration) for iteration in range(1, 7)]
    assert not run.weights.exists()
