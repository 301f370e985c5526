"""The arms of a study, all derived from one experiment: what differs between two of them is stated here.

The paper's Table 1 compares Baseline, ClassmateNet and DFCNet. Three more arms part its ideas: DFCNet without
road data has the dense fusion alone; ClassmateNet with the road labels of other images shows whether the
labels help or only the additional images do; and ClassmateNet as deep and as large as DFCNet whether dense
fusion helps or only more layers and weights do.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from common.settings import validated
from prototxt_gen.experiment import Experiment
from prototxt_gen.models import TRAIN as TRAIN_NET
from prototxt_gen.models import build

TRAIN, SHUFFLED = "train", "shuffled"  # kinds of a task's database: its own labels, or those of other images


def database(task: str, kind: str) -> str:
    """Return the folder's name of a task's database."""
    return f"{task}_{kind}_lmdb"


@dataclass(frozen=True)
class Arm:
    """One arm: its title in tables, whether it fuses, the kind of its classmates' databases, what it is.

    One without fusion ends with DenseBlock 8, as the paper's; or, where `as_large`, has DenseBlock 9 too and
    the least `up_channels` with which it has at least as many parameters as DFCNet.
    """

    title: str
    fusion: bool
    classmates: str | None
    about: str
    as_large: bool = False


ARMS = {
    "baseline": Arm("Baseline", False, None, "FC-DenseNet on land cover alone"),
    "classmate": Arm("ClassmateNet", False, TRAIN, "FC-DenseNet on land cover and roads together"),
    "dfcnet": Arm("DFCNet", True, TRAIN, "ClassmateNet with DenseBlock 9 and dense fusion"),
    "dfcnet_no_road": Arm("DFCNet without roads", True, None, "dense fusion, on land cover alone"),
    "classmate_shuffled": Arm(
        "ClassmateNet, shuffled roads",
        False,
        SHUFFLED,
        "ClassmateNet, each road image with the labels of another",
    ),
    "classmate_large": Arm(
        "ClassmateNet, as large as DFCNet",
        False,
        TRAIN,
        "ClassmateNet with DenseBlock 9 and as many parameters as DFCNet, without dense fusion",
        as_large=True,
    ),
}
# What each difference shows: the arm, the arm that it is compared with, and the factor in which they differ.
CONTRASTS = (
    ("dfcnet", "baseline", "both ideas of the paper"),
    ("classmate", "baseline", "the classmate"),
    ("dfcnet", "classmate", "dense fusion, beside the classmate"),
    ("dfcnet", "classmate_large", "dense fusion, beside as many layers and parameters"),
    ("dfcnet_no_road", "baseline", "dense fusion alone"),
    ("dfcnet", "dfcnet_no_road", "the classmate, beside dense fusion"),
    ("classmate_shuffled", "baseline", "road images with labels of other images"),
    ("classmate", "classmate_shuffled", "that the road labels belong to their images"),
)
ArmName = Literal[*ARMS]


def derive(
    base: Experiment, name: str, seed: int, data: Path, batches: Mapping[str, int] | None = None
) -> Experiment:
    """Return the experiment of arm `name`, from that of DFCNet on all tasks.

    Net, crop, schedule and the main task's images of an update are the base's; an arm without classmates
    has a batch of the main task's images alone. `data` is the folder of the databases; `batches` gives arms
    another batch_size. Raises ExperimentError where the settings make no net or no batch.
    """
    arm = ARMS[name]
    table = base.model_dump(exclude_none=True, exclude={"name"})
    if arm.as_large:
        table["densenet"]["up_channels"] = _up_channels_as_large(base.model_dump_json(exclude_none=True))
    if not arm.fusion:
        del table["fusion"]
    if not arm.fusion and not arm.as_large:
        table["densenet"]["decoder_units"] = base.densenet.decoder_units[:3]
    main, *classmates = base.task_names()
    table["tasks"][main]["source"] = str(data / database(main, TRAIN))
    for task in classmates:
        if arm.classmates:
            table["tasks"][task]["source"] = str(data / database(task, arm.classmates))
        else:
            del table["tasks"][task]
    batch = main_images(base) * len(table["tasks"])
    table["solver"] |= {"batch_size": (batches or {}).get(name, batch), "random_seed": seed}
    return validated(Experiment, table, name, f"{base.name} as {name}")


@cache
def _up_channels_as_large(base: str) -> int:
    """Return the least up_channels of a net without fusion that has no fewer parameters than the base's."""
    exp = Experiment.model_validate_json(base)

    def is_large(up_channels: int) -> bool:
        densenet = exp.densenet.model_copy(update={"up_channels": up_channels})
        plain = exp.model_copy(update={"fusion": None, "densenet": densenet, "multipliers": ()})
        return build(plain, TRAIN_NET).parameters() >= parameters

    parameters = build(exp.model_copy(update={"multipliers": ()}), TRAIN_NET).parameters()
    most = exp.densenet.up_channels
    while not is_large(most):
        most *= 2
    return bisect_left(range(most), True, lo=1, key=is_large)


def main_images(exp: Experiment) -> int:
    """Return the main task's images of one update: each task has an equal part of the batch."""
    return exp.solver.batch_size // len(exp.tasks)


def main_crops(exp: Experiment) -> int:
    """Return how many crops of the main task the whole training sees, the repeated ones too."""
    return main_images(exp) * exp.solver.max_iter
