"""Deploy net, weights and model card -> a predictor that feeds the net as it was trained."""

from collections.abc import Callable, Sequence
from pathlib import Path

from common.errors import NetError, WeightsError
from data_prep.classes import Task
from inference.deploy import Deploy, read_deploy
from inference.engine_names import CAFFE
from inference.engines import open_nets
from inference.predictor import FedNet, Predictor, TileNet
from prototxt_gen.model_card import ModelCard, card_path, read_card

DENSENET_MEAN = (103.94, 116.78, 123.68)  # B, G, R of the public DenseNet-121 for Caffe
DENSENET_SCALE = 0.017


def input_scaling(
    weights: Path, task: Task, warn: Callable[[str], None], deploy: Deploy | None = None
) -> tuple[tuple[float, float, float], float]:
    """Return (mean in B, G, R, scale) for `weights`: their card's, else the deploy net's, else DenseNet's.

    Without a card a warning says what is assumed. Raises WeightsError where the card says that the
    weights have not learnt `task`, or other classes or another order of them, or that they belong to
    another experiment, mean or scale than `deploy`.
    """
    card = read_card(weights)
    if card is None:
        mean, scale = deploy.fed[1:] if deploy and deploy.fed else (DENSENET_MEAN, DENSENET_SCALE)
        whose = f" as {deploy.path.name} says" if deploy and deploy.fed else ""
        warn(
            f"{weights}: no model card {card_path(weights).name}; assuming {_text(mean, scale)}{whose}, "
            f"{task.name} classes {', '.join(task.classes)}"
        )
        return mean, scale
    _check_classes(weights, card, task)
    if deploy is not None:
        _check_net(weights, card, deploy)
    return card.mean, card.scale


def _text(mean: Sequence[float], scale: float) -> str:
    return f"mean {' '.join(map(str, mean))} (B G R), scale {scale:g}"


def _check_classes(weights: Path, card: ModelCard, task: Task) -> None:
    if task.name not in card.tasks:
        known = ", ".join(card.tasks) or "nothing"
        raise WeightsError(
            card_path(weights), f"trained for {known}, not {task.name}", "choose another --task"
        )
    if card.tasks[task.name].class_names != task.classes:
        learnt = ", ".join(card.tasks[task.name].class_names)
        fact = f"{task.name} classes {learnt}, not {', '.join(task.classes)}"
        raise WeightsError(card_path(weights), fact, "use weights trained on these classes in this order")


def _check_net(weights: Path, card: ModelCard, deploy: Deploy) -> None:
    remedy = "give the deploy net and the weights of one run, both from fold_bn.py or neither"
    if deploy.name and deploy.name != card.experiment:
        fact = f"trained as {card.experiment}, but {deploy.path} is the net of {deploy.name}"
        raise WeightsError(card_path(weights), fact, remedy)
    # The prototxt gives the scale with six digits.
    if deploy.fed and deploy.fed[1:] != (card.mean, float(f"{card.scale:g}")):
        fact = f"trained with {_text(card.mean, card.scale)}, but {deploy.path} has {_text(*deploy.fed[1:])}"
        raise WeightsError(card_path(weights), fact, remedy)


def tile_nets(
    deploy: Deploy,
    weights: Sequence[Path],
    task: Task,
    side: int | None,
    batch: int,
    engine: str = CAFFE,
    gpu: int | None = None,
) -> Sequence[TileNet]:
    """Return a net for each of `weights`: the one place where nets that answer tiles are made.

    `side` is the tile's side (None: the prototxt's own), `batch` the most tiles of a call, `engine` one of
    `engine_names.ENGINES`, `gpu` a GPU's number (None: the CPU). Raises NetError where the net has other
    classes than `task`.
    """
    nets = open_nets(engine, deploy, weights, task.name, side, batch, gpu)
    first = nets[0]
    if first.classes != len(task.classes):
        fact = f"{first.output} has {first.classes} channels, {task.name} {len(task.classes)} classes"
        raise NetError(deploy.path, fact, "use a deploy net of this task")
    return nets


def load_predictor(
    deploy: Path,
    weights: Path | Sequence[Path],
    task: Task,
    *,
    overlap: int | None = None,
    side: int | None = None,
    batch: int = 1,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    engine: str = CAFFE,
    gpu: int | None = None,
    warn: Callable[[str], None] = print,
) -> Predictor:
    """Return a predictor of `task`; several `weights` are averaged.

    `overlap` and `side` are in pixels (None: a quarter of the tile; the prototxt's own side), `engine` is
    one of `engine_names.ENGINES`, `gpu` the number of the GPU that computes (None: the CPU); the others as
    in `Predictor`. `warn` gets one line where something is assumed. Raises NetError or WeightsError for
    files that are missing, broken, or do not belong together.
    """
    paths = [Path(weights)] if isinstance(weights, str | Path) else [Path(path) for path in weights]
    net = read_deploy(deploy)
    fed = [input_scaling(path, task, warn, net) for path in paths]  # before Caffe is loaded
    nets = tile_nets(net, paths, task, side, batch, engine, gpu)
    others = [FedNet(other, *how) for other, how in zip(nets[1:], fed[1:], strict=True)]
    return Predictor(nets[0], *fed[0], overlap, batch, scales, flip, others)
