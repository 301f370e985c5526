"""Twenty iterations as a user would start them: on a device, on all over NCCL, stopped and resumed."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpu_check.deadline import Deadline
from gpu_check.devices import CPU, Device
from gpu_check.isolation import checked_command
from gpu_check.nets import ROOT, experiment
from gpu_check.records import sources
from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.emit import net_texts, solver_text
from prototxt_gen.experiment import Experiment
from prototxt_gen.fused_weights import is_statistics, plain_view
from prototxt_gen.models import loss_of
from training.communicators import join_nccl
from training.curves import read_log
from training.pycaffe import import_caffe

DEMO = "dfcnet_demo"
ITERATIONS = 20
HALF = ITERATIONS // 2
# The first iteration's loss is one forward pass; in twenty updates roundings grow.
FIRST_TOLERANCE = 1e-3
LAST_TOLERANCE = 0.1
RESUMED_TOLERANCE = 1e-3
# All GPUs against one: few iterations, since sums in another order grow apart (on CPUs 1e-4 after four, 2e-2
# after twenty), and ranks that do not share their gradients are 2e-2 off after four.
SHARED_ITERATIONS = 4
SHARED_TOLERANCE = 2e-3
# How gradients are averaged over NCCL, and the passes of an update that make Caffe do it so.
REDUCED = {"layer by layer": 1, "at once": 2}


@dataclass(frozen=True)
class Training:
    """A finished run: its folder, and each task's losses by iteration."""

    folder: Path
    losses: dict[str, list[float]]

    def distance(self, other: "Training", iteration: int) -> float:
        """Return the largest relative difference of a loss at an iteration, counted from 0."""
        return max(
            abs(losses[iteration] - other.losses[task][iteration]) / abs(other.losses[task][iteration])
            for task, losses in self.losses.items()
        )


def settings(folder: Path, ranks: int, *more: str, chance: bool = True, passes: int = 2) -> list[str]:
    """Return --set arguments that make the demo's DFCNet train twenty iterations on `ranks` processes.

    Without `chance`, which each rank draws for itself, nothing is cropped or mirrored: then any number of
    ranks sees the same batches. An update takes `passes` over one image of each task on each rank. `more`
    are further such arguments.
    """
    exp = experiment(DEMO, more)
    return [
        *more,
        *sources(exp, folder / "data", 4 * ranks, margin=8 if chance else 0),
        f"input.mirror={str(chance).lower()}",
        f"solver.batch_size={passes * len(exp.tasks) * ranks}",
        f"solver.ranks={ranks}",
        "solver.images_per_pass=1",
        f"solver.max_iter={ITERATIONS}",
        f"solver.snapshot={HALF}",
        "solver.keep_snapshots=5",
        "solver.display=1",
        "solver.random_seed=5",
    ]


def train(
    folder: Path,
    options: Sequence[str],
    gpus: Sequence[int],
    deadline: Deadline,
    *more: str,
    name: str = DEMO,
) -> Training:
    """Run tools/train.py; `gpus` empty: on the CPU. ProcessDied with its last line, or if it hangs."""
    device = ["--gpus", ",".join(map(str, gpus))] if gpus else ["--cpu"]
    command = [sys.executable, ROOT / "tools" / "train.py", name, "--run", folder, *device, *more]
    command += [word for option in options for word in ("--set", option)]
    checked_command(command, deadline.left(), {} if gpus else CPU.environment)
    return read_training(folder)


def read_training(folder: Path) -> Training:
    """Read the losses of a run's log."""
    curves = {name: list(curve.values()) for name, curve in read_log(folder).items()}
    losses = (name for name in curves if name.endswith(" loss"))
    return Training(folder, {name.removesuffix(" loss"): curves[name] for name in losses})


def resume_half(
    whole: Path, folder: Path, options: Sequence[str], gpus: Sequence[int], deadline: Deadline
) -> float:
    """Go on from a run's middle snapshot; return the distance ||a - b|| / ||b|| of the final weights."""
    shutil.copytree(whole, folder)
    (folder / "weights.caffemodel").unlink()
    (folder / "weights.json").unlink()
    shutil.rmtree(next((folder / "snapshots").glob(f"iter_*{ITERATIONS}")))
    train(folder, options, gpus, deadline, "--resume")
    return weights_distance(folder / "weights.caffemodel", whole / "weights.caffemodel")


def all_against_one(folder: Path, gpus: Sequence[int], passes: int, deadline: Deadline, *more: str) -> float:
    """Train the same batches on all GPUs and on the first one; return the distance of what they have learnt.

    Of many ranks the first one's weights are saved. They are those of one GPU only if all ranks started with
    the same weights, kept them the same, took each record once and averaged their gradients.
    """
    options = settings(folder, len(gpus), *more, chance=False, passes=passes)
    options.append(f"solver.max_iter={SHARED_ITERATIONS}")
    shared = train(folder / "all", options, gpus, deadline)
    alone = train(folder / "one", options, gpus[:1], deadline)
    return weights_distance(
        shared.folder / "weights.caffemodel", alone.folder / "weights.caffemodel", statistics=False
    )


def weights_distance(ours: Path, theirs: Path, statistics: bool = True) -> float:
    """Return ||a - b|| / ||b|| over all parameters of two .caffemodel files, or all but BatchNorm's."""
    a, b = (
        np.concatenate(
            [
                blob.ravel()
                for name, blobs in plain_view(read_caffemodel(path)).items()
                for blob in blobs
                if statistics or not is_statistics(name)
            ]
        )
        for path in (ours, theirs)
    )
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def alone_over_nccl(exp: Experiment, folder: Path, device: Device) -> tuple[int, float]:
    """Train with NCCL and a single rank; return the id's length and the last loss."""
    caffe = import_caffe()
    uid = caffe.NCCL.new_uid()
    device.choose(caffe)
    folder.mkdir()
    for name, text in net_texts(exp, folder).items():
        (folder / name).write_text(text, encoding="utf-8")
    path = folder / "solver.prototxt"
    text = solver_text(exp, f"{folder}/train.prototxt", f"{folder}/s", "GPU", [], 1, snapshots=False)
    path.write_text(text, encoding="utf-8")
    caffe.set_multiprocess(True)
    solver = caffe.get_solver(str(path))
    nccl = join_nccl(caffe, solver, uid)
    solver.step(ITERATIONS)
    loss = float(sum(solver.net.blobs[loss_of(task)].data for task in exp.tasks))
    del nccl
    return len(uid), loss
