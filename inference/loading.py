"""Deploy net, weights and model card -> a predictor that feeds the net as it was trained."""

from collections.abc import Callable
from pathlib import Path

from data_prep.classes import Task
from inference.caffe_net import CaffeNet
from inference.deploy import read_deploy
from inference.predictor import Predictor
from prototxt_gen.errors import NetError, WeightsError
from prototxt_gen.model_card import ModelCard, card_path, read_card

DENSENET_MEAN = (103.94, 116.78, 123.68)  # B, G, R of the public DenseNet-121 for Caffe
DENSENET_SCALE = 0.017


def input_scaling(
    weights: Path, task: Task, warn: Callable[[str], None]
) -> tuple[tuple[float, float, float], float]:
    """Return (mean in B, G, R, scale) for `weights`: their card's, or DenseNet's after a warning.

    Raises WeightsError where the card says that the weights have not learnt `task`, or other classes
    or another order of them.
    """
    card = read_card(weights)
    if card is None:
        mean = " ".join(map(str, DENSENET_MEAN))
        warn(
            f"{weights}: no model card {card_path(weights).name}; assuming mean {mean} (B G R), "
            f"scale {DENSENET_SCALE}, {task.name} classes {', '.join(task.classes)}"
        )
        return DENSENET_MEAN, DENSENET_SCALE
    _check_classes(weights, card, task)
    return card.mean, card.scale


def _check_classes(weights: Path, card: ModelCard, task: Task) -> None:
    if task.name not in card.tasks:
        known = ", ".join(card.tasks) or "nothing"
        raise WeightsError(
            card_path(weights), f"trained for {known}, not {task.name}", "choose another --task"
        )
    if card.tasks[task.name] != task.classes:
        fact = f"{task.name} classes {', '.join(card.tasks[task.name])}, not {', '.join(task.classes)}"
        raise WeightsError(card_path(weights), fact, "use weights trained on these classes in this order")


def load_predictor(
    deploy: Path,
    weights: Path,
    task: Task,
    *,
    overlap: int | None = None,
    side: int | None = None,
    warn: Callable[[str], None] = print,
) -> Predictor:
    """Return a predictor of `task` with Caffe on the CPU.

    `overlap` and `side` are in pixels (None: a quarter of the tile; the prototxt's own side). `warn`
    gets one line where something is assumed. Raises NetError or WeightsError for files that are
    missing, broken, or do not belong together.
    """
    net = CaffeNet(read_deploy(deploy), weights, task.name, side)
    if net.classes != len(task.classes):
        fact = f"{net.output} has {net.classes} channels, {task.name} {len(task.classes)} classes"
        raise NetError(deploy, fact, "use a deploy net of this task")
    mean, scale = input_scaling(Path(weights), task, warn)
    return Predictor(net, mean, scale, overlap)
