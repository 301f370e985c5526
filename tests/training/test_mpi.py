"""Several ranks on the CPU, started by mpirun: the same weights as one rank, and no sample twice."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common.errors import DFCNetError
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.emit import net_text
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import TRAIN, build
from tests.conftest import refused, write_lmdb
from training import communicators, driver
from training.communicators import LauncherSocket
from training.run import open_run

pytestmark = pytest.mark.caffe
ROOT = Path(__file__).parents[2]
MPIRUN = Path(sys.executable).with_name("mpirun")


STARTED: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=20)


def mpirun(ranks: int, *command: object) -> subprocess.Popen:
    """Start a Python program in `ranks` processes; root and more ranks than cores are fine in a test."""
    environment = os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    words = [MPIRUN, "--oversubscribe", "-n", ranks, sys.executable, *command]
    process = subprocess.Popen(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    STARTED.append(process)
    return process


def train(tiny: Path, run: str, ranks: int, *options: str) -> str:
    process = mpirun(ranks, ROOT / "tools" / "train.py", tiny, "--cpu", "--run", run, *options)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    return out


@pytest.fixture
def even(tiny, tmp_path):
    """The tiny experiment without chance: whole records, no mirror, frozen statistics, 8 images an update."""
    for task, classes in (("land", 6), ("road", 2)):
        (tmp_path / f"{task}_lmdb" / "data.mdb").unlink()
        write_lmdb(tmp_path / f"{task}_lmdb", task, classes, side=33, records=8)
    text = tiny.read_text().replace("crop = 33", "crop = 33\nmirror = false")
    text = text.replace("bn_moving_average = 0.9", "bn_frozen = true")
    text = text.replace("batch_size = 4", "batch_size = 8").replace(
        "images_per_pass = 2", "images_per_pass = 1"
    )
    text = text.replace("base_lr = 0.05", "base_lr = 0.002")  # nothing normalises: a calm rate
    tiny.write_text(text.replace("max_iter = 6", "max_iter = 4"))
    shapes = build(read_experiment(tiny), TRAIN).parameter_shapes()
    norms = {name: blobs for name, blobs in shapes.items() if name.endswith("/bn")}
    statistics = {name: [np.zeros(b[0]), np.ones(b[1]), np.ones(1)] for name, b in norms.items()}
    write_caffemodel(tmp_path / "statistics.caffemodel", "tiny", statistics)
    return tiny


FROZEN = ("--weights", "statistics.caffemodel")  # mean 0, variance 1: frozen ones must come from somewhere


@pytest.mark.parametrize(("form", "counts"), [("plain", (2, 4)), ("fused", (2,))])
def test_n_ranks_give_the_weights_of_one_rank_with_the_same_effective_batch(even, tmp_path, form, counts):
    """All pixels are labelled, so that the mean over ranks is the mean over the batch."""
    weights = {}
    for ranks in (1, *counts):
        out = train(even, f"run{ranks}", ranks, *FROZEN, "--dense-block", form)
        assert out.count("weights after 4 iterations") == 1
        weights[ranks] = read_caffemodel(tmp_path / f"run{ranks}" / "weights.caffemodel")
    start = {name: blobs[0].std() for name, blobs in weights[1].items()}
    assert start["conv1"] > 0
    for ranks in counts:
        for name, blobs in weights[1].items():
            for one, many in zip(blobs, weights[ranks][name], strict=True):
                np.testing.assert_allclose(many, one, rtol=1e-3, atol=2e-5, err_msg=f"{name}, {ranks} ranks")


def test_training_moves_the_weights_by_far_more_than_that_tolerance(even, tmp_path):
    train(even, "four", 1, *FROZEN)
    even.write_text(even.read_text().replace("max_iter = 4", "max_iter = 1"))
    train(even, "one", 1, *FROZEN)
    four, one = (
        read_caffemodel(tmp_path / run / "weights.caffemodel")["conv1"][0] for run in ("four", "one")
    )
    assert np.abs(four - one).max() > 1e-3


EVERY_RANK = """
import sys
from multiprocessing import Pipe
from pathlib import Path
import numpy as np
from prototxt_gen.experiment import read_experiment
from training import rank as module
from training.communicators import MPICommunicator
from training.run import Run

class Parent:
    def send(self, message):
        pass
    def recv(self):
        return False

run = Run(read_experiment(Path(sys.argv[1])), Path(sys.argv[2]))
communicator = MPICommunicator(gpu=False)
solvers = []
real = module.import_caffe
def keep(verbose):
    caffe = real(verbose)
    class Kept:
        def __getattr__(self, name):
            return getattr(caffe, name)
        def get_solver(self, path):
            solvers.append(caffe.get_solver(path))
            return solvers[-1]
    return Kept()
module.import_caffe = keep
module._train(run, module.RankOptions(weights=(Path("statistics.caffemodel"),)), communicator, Parent())
learnt = [b.data.ravel() for n, bs in solvers[0].net.params.items() for b in bs]
np.save(f"rank{communicator.rank}.npy", np.concatenate(learnt))
"""


def test_every_rank_ends_with_identical_weights(even, tmp_path):
    open_run(read_experiment(even), tmp_path / "run", ranks=4, gpu=False)
    (tmp_path / "every.py").write_text(EVERY_RANK)
    process = mpirun(4, tmp_path / "every.py", even, tmp_path / "run")
    out, err = process.communicate(timeout=50)
    assert process.returncode == 0, out + err
    ranks = [np.load(tmp_path / f"rank{number}.npy") for number in range(4)]
    assert ranks[0].std() > 0
    for other in ranks[1:]:
        np.testing.assert_array_equal(other, ranks[0])


SAMPLES = """
import sys
import numpy as np
from mpi4py import MPI
from training.pycaffe import import_caffe
comm = MPI.COMM_WORLD
caffe = import_caffe()
caffe.set_mode_cpu()
caffe.set_solver_count(comm.size)
caffe.set_solver_rank(comm.rank)
caffe.set_multiprocess(comm.size > 1)
net = caffe.Net(sys.argv[1], caffe.TRAIN)
seen = []
for _ in range(8 // comm.size):
    net.forward(end="land_slice")
    seen.append(float(net.blobs["data"].data.sum()))
print("seen", comm.gather(seen)) if comm.rank == 0 else comm.gather(seen)
"""


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_each_sample_is_used_once_per_epoch_over_all_ranks(even, tmp_path, ranks):
    net = net_text(build(read_experiment(even), TRAIN), ["x"]).replace('top: "land_image"', 'top: "data"')
    (tmp_path / "net.prototxt").write_text(net.split('layer {\n  name: "road_data"')[0])
    (tmp_path / "samples.py").write_text(SAMPLES)
    process = mpirun(ranks, tmp_path / "samples.py", tmp_path / "net.prototxt")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    parts = json.loads(re.search(r"seen (.*)", out)[1])
    assert [len(part) for part in parts] == [8 // ranks] * ranks
    assert len({value for part in parts for value in part}) == 8  # each record has a sum of its own


@pytest.mark.parametrize("ranks", [2])
def test_a_run_of_two_ranks_resumes_exactly(tiny, tmp_path, ranks):
    text = tiny.read_text().replace("images_per_pass = 2", "images_per_pass = 1\nkeep_snapshots = 9")
    tiny.write_text(text.replace("max_iter = 6", "max_iter = 9"))
    train(tiny, "straight", ranks)
    train(tiny, "stopped", ranks)
    (tmp_path / "stopped" / "weights.caffemodel").unlink()
    (tmp_path / "stopped" / "snapshots" / "iter_00000009" / "manifest.json").unlink()
    out = train(tiny, "stopped", ranks, "--resume")
    for name in ("iter_00000008", "iter_00000004"):
        if f"continuing from stopped/snapshots/{name}" in out:
            break
    else:
        raise AssertionError(out)
    for file in ("weights.caffemodel", "snapshots/iter_00000009/solver.solverstate"):
        assert (tmp_path / "straight" / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes()


def test_a_resume_by_another_number_of_ranks_is_said_and_noted(tiny, tmp_path):
    text = tiny.read_text().replace("images_per_pass = 2", "images_per_pass = 1\nkeep_snapshots = 9")
    tiny.write_text(text)
    train(tiny, "run", 1)
    (tmp_path / "run" / "weights.caffemodel").unlink()
    (tmp_path / "run" / "snapshots" / "iter_00000006" / "manifest.json").unlink()
    out = train(tiny, "run", 2, "--resume")
    assert "iter_00000004 is of 1 rank, now the run has 2: the samples are not those" in out
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert [(line["start"], line["ranks"]) for line in lines if "start" in line] == [(0, 1), (4, 2)]


def test_one_killed_rank_of_four_ends_the_run_and_is_named(even, tmp_path):
    even.write_text(even.read_text().replace("max_iter = 4", "max_iter = 1000000"))
    process = mpirun(4, ROOT / "tools" / "train.py", even, "--cpu", "--run", "run", *FROZEN)
    log = tmp_path / "run" / "log.jsonl"
    while not log.exists() or "loss" not in log.read_text():
        time.sleep(0.05)
    ranks = [
        entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and is_rank(entry, tmp_path, 2)
    ]
    assert len(ranks) == 1
    os.kill(int(ranks[0].name), signal.SIGKILL)
    out, err = process.communicate(timeout=60)  # else the others wait for ever
    assert process.returncode != 0
    assert "rank 2 ended with signal 9" in out + err


def is_process(process: Path, folder: Path, tool: bytes) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        return words[1:2] == [tool] and os.readlink(process / "cwd") == str(folder)
    except OSError:
        return False


def is_rank(process: Path, folder: Path, number: int) -> bool:
    try:
        environment = (process / "environ").read_bytes().split(b"\0")
        return (
            b"spawn_main" in (process / "cmdline").read_bytes()
            and os.readlink(process / "cwd") == str(folder)
            and f"OMPI_COMM_WORLD_RANK={number}".encode() in environment
        )
    except OSError:
        return False


def test_a_signal_to_one_process_stops_all_ranks_with_a_snapshot(even, tmp_path):
    """Not to mpirun itself: it kills its processes right after passing a signal on."""
    text = even.read_text().replace("max_iter = 4", "max_iter = 1000000")
    even.write_text(text.replace("snapshot = 4", "snapshot = 1000000"))
    process = mpirun(2, ROOT / "tools" / "train.py", even, "--cpu", "--run", "run", *FROZEN)
    log = tmp_path / "run" / "log.jsonl"
    while not log.exists() or "loss" not in log.read_text():
        time.sleep(0.05)
    tool = str(ROOT / "tools" / "train.py").encode()
    own = [
        entry
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and is_process(entry, tmp_path, tool)
    ]
    os.kill(int(own[-1].name), signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert len(list((tmp_path / "run" / "snapshots").glob("iter_*/manifest.json"))) == 1, out + err


def test_a_batch_that_does_not_divide_over_the_ranks_is_refused_with_the_arithmetic(even):
    process = mpirun(3, ROOT / "tools" / "train.py", even, "--cpu", "--run", "new/run", *FROZEN)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "batch_size 8 is not a multiple of 3 ranks x 2 tasks x 1 images_per_pass = 6" in err
    assert not (even.parent / "new").exists()


@pytest.mark.parametrize("manifest", [None, "{"])
def test_a_validation_database_that_cannot_be_used_is_said_by_one_process(tiny, tmp_path, manifest):
    source = 'source = "land_lmdb"'
    tiny.write_text(tiny.read_text().replace(source, f'{source}\nvalidation = "held_out"'))
    if manifest is not None:
        shutil.copytree(tmp_path / "land_lmdb", tmp_path / "held_out")
        (tmp_path / "held_out" / "manifest.json").write_text(manifest)
    process = mpirun(2, ROOT / "tools" / "train.py", tiny, "--cpu", "--run", "run")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    said = [line for line in err.splitlines() if "held_out" in line or "Traceback" in line]
    assert len(said) == 1, err
    assert said[0].startswith("train.py: held_out")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_resumed_by_all_ranks_in_peace(even):
    train(even, "run", 2, *FROZEN)
    assert "trained already" in train(even, "run", 2, "--resume")


LAUNCHERS = [
    {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"},
    {"PMI_RANK": "0", "PMI_SIZE": "2"},
    {"PMI_RANK": "0", "PMI_SIZE": "2", "PMI_FD": "0"},  # MPICH's: Open MPI has words of its own for it
    {"MV2_COMM_WORLD_RANK": "0", "MV2_COMM_WORLD_SIZE": "2"},
    {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"},
]


@pytest.mark.parametrize("variables", LAUNCHERS, ids="-".join)
def test_the_launcher_of_another_mpi_is_refused_before_a_run_is_touched(
    tiny, tmp_path, run_tool, monkeypatch, variables
):
    """Each process would take itself for the only one, and train with its share of the batch."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "solver.prototxt").write_text("of an older run")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = run_tool("train.py", tiny, "--cpu", "--run", "run", "--overwrite")
    refused(done, *list(variables)[:2], "process 0 of 2", "process 0 of 1", "mpirun beside this Python")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["solver.prototxt"]


def test_one_process_of_another_mpis_launcher_trains_alone(tiny, run_tool, monkeypatch):
    for name, value in {"PMI_RANK": "0", "PMI_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    done = run_tool("train.py", tiny, "--cpu", "--run", "run")
    assert done.returncode == 0, done.stderr
    assert "weights after 6 iterations" in done.stdout


def test_mpi_that_cannot_be_loaded_is_refused_before_a_run_is_made(tiny, tmp_path, run_tool, monkeypatch):
    """As where the library that mpi4py was built for has been removed, or is broken."""
    for name, value in LAUNCHERS[0].items():
        monkeypatch.setenv(name, value)
    (tmp_path / "libmpi.so").write_bytes(b"not a library")
    for library in (tmp_path / "libmpi.so", tmp_path / "none.so"):
        monkeypatch.setenv("MPI4PY_LIBMPI", str(library))
        refused(run_tool("train.py", tiny, "--cpu", "--run", "run"), "mpi4py: cannot load MPI", library.name)
        assert not (tmp_path / "run").exists()


def greets_the_launcher(gpu, place, parent, launcher) -> None:
    """Stand in a rank for an MPI that begins as MPICH's does."""
    os.write(launcher, b"cmd=init")
    parent.send(("place", int(os.environ["PMI_RANK"])))
    parent.recv()


def test_a_rank_speaks_to_the_launcher_through_the_socket_of_the_process_that_it_started(monkeypatch):
    """MPICH's launcher gives an open descriptor, without which MPI cannot begin in the rank."""
    here, there = socket.socketpair()
    monkeypatch.setattr(driver, "train_rank", greets_the_launcher)
    for name, value in {"PMI_RANK": "1", "PMI_SIZE": "2", "PMI_FD": str(there.fileno())}.items():
        monkeypatch.setenv(name, value)
    here.settimeout(20)
    with here, there, driver._ranks([]) as ranks:
        assert here.recv(100) == b"cmd=init"
        assert [process.name for process in ranks.values()] == ["rank 1"]


def test_a_descriptor_that_the_launcher_has_closed_is_none(monkeypatch):
    monkeypatch.delenv("PMI_FD", raising=False)
    assert LauncherSocket.inherited() is None
    monkeypatch.setenv("PMI_FD", "99999")
    assert LauncherSocket.inherited() is None


MPIEXEC = shutil.which("mpiexec.hydra")


@pytest.mark.skipif(MPIEXEC is None, reason="MPICH is not installed")
@pytest.mark.timeout(120)
def test_the_real_launcher_of_mpich_is_refused_in_a_line(tiny, tmp_path):
    words = [MPIEXEC, "-n", "2", sys.executable, ROOT / "tools" / "train.py", tiny, "--cpu", "--run", "run"]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, env=environment, check=False, timeout=100
    )
    refused(done, "PMI_RANK and PMI_SIZE", "process 0 of 2", "process 0 of 1")
    assert not (tmp_path / "run").exists()


def test_a_step_of_slurm_with_one_task_is_no_launcher_and_a_count_must_be_a_number(monkeypatch):
    for name in (*communicators.RANK, *communicators.SIZE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_PROCID", "0")  # also in a batch script that srun has not started
    assert communicators.mpi_rank_and_size() is None
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert communicators.mpi_rank_and_size() is None
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    assert communicators.mpi_rank_and_size() == (0, 3)
    monkeypatch.setenv("PMI_RANK", "1")
    assert communicators.mpi_rank_and_size() == (0, 3)  # half of a pair is of nobody
    monkeypatch.setenv("PMI_SIZE", "two")
    with pytest.raises(DFCNetError, match="PMI_SIZE: is 'two'"):
        communicators.mpi_rank_and_size()
