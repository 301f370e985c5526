"""The arms of a study, all derived from one experiment: what differs between two of them is stated here.

The paper's Table 1 compares Baseline, ClassmateNet and DFCNet. Two more arms part its ideas: DFCNet without
road data has the dense fusion alone, and ClassmateNet with the road labels of other images tells whether the
labels help or only the additional images do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.settings import checked
from prototxt_gen.experiment import Experiment

LAND_DB, ROAD_DB, SHUFFLED_DB = "land_train_lmdb", "road_train_lmdb", "road_shuffled_lmdb"


@dataclass(frozen=True)
class Arm:
    """One arm: how tables call it, the net, the database of its classmate if it has one, and what it is."""

    title: str
    model: str
    road: str | None
    about: str


ARMS = {
    "baseline": Arm("Baseline", "baseline", None, "FC-DenseNet on land cover alone"),
    "classmate": Arm("ClassmateNet", "classmate", ROAD_DB, "FC-DenseNet on land cover and roads together"),
    "dfcnet": Arm("DFCNet", "dfcnet", ROAD_DB, "ClassmateNet with DenseBlock 9 and dense fusion"),
    "dfcnet_no_road": Arm("DFCNet without roads", "dfcnet", None, "dense fusion, on land cover alone"),
    "classmate_shuffled": Arm(
        "ClassmateNet, shuffled roads",
        "classmate",
        SHUFFLED_DB,
        "ClassmateNet, each road image with the labels of another",
    ),
}
# What each difference tells: the arm, the arm that it is compared with, and the question.
CONTRASTS = (
    ("dfcnet", "baseline", "both ideas of the paper"),
    ("classmate", "baseline", "the classmate"),
    ("dfcnet", "classmate", "dense fusion, beside the classmate"),
    ("dfcnet_no_road", "baseline", "dense fusion alone"),
    ("dfcnet", "dfcnet_no_road", "the classmate, beside dense fusion"),
    ("classmate_shuffled", "baseline", "road images with labels of other images"),
    ("classmate", "classmate_shuffled", "that the road labels belong to their images"),
)
ArmName = Literal["baseline", "classmate", "dfcnet", "dfcnet_no_road", "classmate_shuffled"]


def derive(
    base: Experiment, name: str, seed: int, data: Path, batches: Mapping[str, int] | None = None
) -> Experiment:
    """Return the experiment of arm `name`, from that of DFCNet on both tasks.

    Net, crop, schedule and the land images of an update are the base's; an arm without roads has a batch of
    the land images alone. `data` is the folder of the databases; `batches` gives arms another batch_size.
    Raises ExperimentError where the settings make no net or no batch.
    """
    arm = ARMS[name]
    table = base.model_dump(exclude_none=True, exclude={"name"})
    table["model"] = arm.model
    if arm.model != "dfcnet":
        del table["fusion_channels"]
        table["densenet"]["decoder_units"] = base.densenet.decoder_units[:3]
    table["tasks"]["land"]["source"] = str(data / LAND_DB)
    if arm.road:
        table["tasks"]["road"]["source"] = str(data / arm.road)
    else:
        del table["tasks"]["road"]
    batch = land_images(base) * len(table["tasks"])
    table["solver"] |= {"batch_size": (batches or {}).get(name, batch), "random_seed": seed}
    return checked(Experiment, table, name, f"{base.name} as {name}")


def land_images(exp: Experiment) -> int:
    """Return the land images of one update: each task has an equal part of the batch."""
    return exp.solver.batch_size // len(exp.tasks)


def land_samples(exp: Experiment) -> int:
    """Return how many land crops the whole training sees, the repeated ones too."""
    return land_images(exp) * exp.solver.max_iter
