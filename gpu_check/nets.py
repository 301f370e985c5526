"""The nets that are checked, as files: a net in both forms, with the same weights and input.

plain.prototxt, fused.prototxt   of Caffe's layers, and of ours that do several at once
net.caffemodel, inputs.npz       for both
net.json, weights.npz            the same for a Python without Caffe, see benchmarks/speed_files.py
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.speed_files import random_weights, write_case
from common.datasets import IGNORE
from prototxt_gen.emit import net_message, net_text
from prototxt_gen.experiment import Experiment, experiment_path, read_experiment
from prototxt_gen.models import DEPLOY, TRAIN, build
from prototxt_gen.prototxt import fed_by_caller

ROOT = Path(__file__).resolve().parent.parent
FORMS = ("plain", "fused")
TASK = "land"
# The paper's nets, narrow and shallow: for tries of the checks themselves.
SMALL = (
    "head_channels=16",
    "densenet.stem_channels=16",
    "densenet.growth_rate=8",
    "densenet.encoder_units=[2, 3, 2, 2]",
    "densenet.up_channels=16",
)


@dataclass(frozen=True)
class Case:
    """A net in a folder, to train (one image a task) or to predict with; no other has its `name`."""

    name: str
    folder: Path
    trains: bool
    images: int
    side: int

    def prototxt(self, form: str) -> Path:
        """Return the file of one of FORMS."""
        return self.folder / f"{form}.prototxt"

    @property
    def weights(self) -> Path:
        """Parameters of both forms."""
        return self.folder / "net.caffemodel"

    def inputs(self) -> dict[str, np.ndarray]:
        """Return the input blobs."""
        with np.load(self.folder / "inputs.npz", allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def experiment(name: str, settings: Sequence[str] = (), small: bool = False) -> Experiment:
    """Return one of the project's experiments; `small`: narrow and shallow."""
    narrow: list[str] = []
    if small:
        blocks = 4 if name.startswith("dfcnet") else 3
        narrow = [*SMALL, f"densenet.decoder_units={[2, 2, 1, 1][:blocks]}"]
        narrow += ["fusion.channels=16"] if blocks == 4 else []
    return read_experiment(experiment_path(name), [*narrow, *settings])


def write_net(folder: Path, net: str, trains: bool, side: int, small: bool = False) -> Case:
    """Write the net of an experiment for crops or tiles of `side` pixels; what is there already is kept."""
    name = f"{net}{'_small' if small else ''}_{'train' if trains else 'tile'}_{side}"
    folder = folder / name
    exps = {
        form: experiment(
            net,
            [f"densenet.dense_block='{form}'", f"input.crop={side}", "solver.images_per_pass=1"],
            small,
        )
        for form in FORMS
    }
    case = Case(name, folder, trains, len(exps["plain"].tasks) if trains else 1, side)
    if (folder / "fused.prototxt").exists():
        return case
    nets = {form: build(exp, TRAIN) if trains else build(exp, DEPLOY, [TASK]) for form, exp in exps.items()}
    write_case(
        folder,
        fed_by_caller(net_message(nets["plain"])),
        random_weights(nets["plain"]),
        _inputs(exps["plain"], trains, side),
    )
    for form, each in nets.items():
        text = str(fed_by_caller(net_message(each))) if trains else net_text(each, [])
        case.prototxt(form).write_text(text, encoding="utf-8")
    return case


def _inputs(exp: Experiment, trains: bool, side: int) -> dict[str, np.ndarray]:
    """Return images like real ones, less their mean; records have labels too, some without a class."""
    rng = np.random.default_rng(2)
    if not trains:
        return {"data": rng.normal(0, 1, (1, 3, side, side)).astype(np.float32)}
    inputs = {}
    for task, settings in exp.tasks.items():
        image = rng.normal(0, 60, (1, len(exp.input.bands), side, side))
        labels = rng.integers(0, settings.classes + 1, (1, 1, side, side))
        labels[labels == settings.classes] = IGNORE
        inputs[f"{task}_data"] = np.concatenate([image, labels], axis=1).astype(np.float32)
    return inputs
