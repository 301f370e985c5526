"""Deploy net, weights and model card -> a predictor that feeds the net as it was trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.datasets import Dataset
from common.errors import NetError, WeightsError
from inference.backends import CAFFE, open_nets
from inference.deploy import Deploy
from inference.predictor import NormalizedNet, Predictor
from prototxt_gen.input_comment import BGR
from prototxt_gen.model_card import Calibration, ModelCard, card_path, read_card

DENSENET_MEAN = (103.94, 116.78, 123.68)  # blue, green, red of the public DenseNet-121 for Caffe
DENSENET_SCALE = 0.017


@dataclass(frozen=True)
class TrainedTask:
    """What weights have learnt, a task and its data set, and how their net is fed: (bands - mean) * scale.

    `seen` are the images that trained them, see ModelCard.has_seen; `calibration` is None where none was
    fitted.
    """

    task: str
    dataset: Dataset
    bands: tuple[str, ...]
    mean: tuple[float, ...]
    scale: float
    seen: frozenset[str] = frozenset()
    calibration: Calibration | None = None


def trained_task(
    weights: Path,
    deploy: Deploy,
    task: str | None = None,
    dataset: Dataset | None = None,
    warn: Callable[[str], None] = print,
) -> TrainedTask:
    """Return what `weights` have learnt of `task` (None: the main one), by their card.

    `dataset` is one that a user names. Without a card it names the classes, and the deploy net's comments
    how the net is fed; a warning says what is assumed. Raises WeightsError where there is neither, or where
    the card says that the weights have not learnt the task, or other classes or another order of them than
    the data set has, or that they belong to another experiment, mean or scale than `deploy`.
    """
    card = read_card(weights)
    if card is None:
        return _assumed(weights, deploy, task, dataset, warn)
    name = task or next(iter(card.tasks), "nothing")
    if name not in card.tasks:
        known = ", ".join(card.tasks) or "nothing"
        raise WeightsError(card_path(weights), f"trained for {known}, not {name}", "choose another --task")
    if dataset is not None and (difference := dataset.difference(card.tasks[name])):
        remedy = "use weights trained on these classes in this order"
        raise WeightsError(card_path(weights), f"learnt {difference} of {dataset.name}", remedy)
    if dataset is not None and dataset.stretch != card.tasks[name].stretch:
        learnt, now = card.tasks[name].stretch_text, dataset.stretch_text
        fact = f"learnt with a stretch {learnt}, that of {dataset.name} is {now}"
        raise WeightsError(card_path(weights), fact, "leave --dataset out, or give the file as it was")
    _check_net(weights, card, deploy)
    calibration = (card.calibrations or {}).get(name)
    fed = (card.bands, card.mean, card.scale)
    return TrainedTask(name, card.tasks[name], *fed, card.has_seen(name), calibration)


def _assumed(
    weights: Path, deploy: Deploy, task: str | None, dataset: Dataset | None, warn: Callable[[str], None]
) -> TrainedTask:
    name = task or next(iter(deploy.tasks), None)
    if dataset is None or name is None:
        fact = f"has no model card {card_path(weights).name}, which names the classes"
        raise WeightsError(weights, fact, "name the data set by --dataset")
    bands, mean, scale = deploy.preprocessing or (BGR, DENSENET_MEAN, DENSENET_SCALE)
    source = f" as {deploy.path.name} says" if deploy.preprocessing else ""
    warn(
        f"{weights}: no model card {card_path(weights).name}; assuming {_text(bands, mean, scale)}{source}, "
        f"{name} classes {', '.join(dataset.class_names)}"
    )
    return TrainedTask(name, dataset, bands, mean, scale)


def _text(bands: Sequence[str], mean: Sequence[float], scale: float) -> str:
    return f"mean {' '.join(map(str, mean))} ({' '.join(bands)}), scale {scale:g}"


def _check_net(weights: Path, card: ModelCard, deploy: Deploy) -> None:
    remedy = "give the deploy net and the weights of one run, both from dfcnet fold-bn or neither"
    if deploy.name and deploy.name != card.experiment:
        fact = f"trained as {card.experiment}, but {deploy.path} is the net of {deploy.name}"
        raise WeightsError(card_path(weights), fact, remedy)
    # The prototxt gives the scale with six digits.
    preprocessing = (card.bands, card.mean, float(f"{card.scale:g}"))
    if deploy.preprocessing and deploy.preprocessing != preprocessing:
        fact = f"trained with {_text(*preprocessing)}, but {deploy.path} has {_text(*deploy.preprocessing)}"
        raise WeightsError(card_path(weights), fact, remedy)


def check_same_input(weights: Sequence[Path], trained: Sequence[TrainedTask], verb: str) -> None:
    """Raise WeightsError where nets have learnt from other bands, or with another stretch, than the first.

    `verb` says what is done with the nets.
    """
    first = trained[0]
    for path, other in zip(weights, trained, strict=True):
        if other.dataset.stretch != first.dataset.stretch:
            its, expected = other.dataset.stretch_text, first.dataset.stretch_text
            fact = f"learnt with a stretch {its}, {weights[0]} with one {expected}"
            raise WeightsError(card_path(path), fact, f"{verb} nets that have learnt with one stretch")
        if other.bands != first.bands:
            its, expected = ", ".join(other.bands), ", ".join(first.bands)
            fact = f"learnt from the bands {its}, {weights[0]} from {expected}"
            raise WeightsError(card_path(path), fact, f"{verb} nets of the same bands in one order")


def load_predictor(
    deploy: Deploy,
    weights: Path | Sequence[Path],
    task: str | None = None,
    dataset: Dataset | None = None,
    *,
    overlap: int | None = None,
    side: int | None = None,
    batch: int = 1,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    backend: str = CAFFE,
    gpu: int | None = None,
    warn: Callable[[str], None] = print,
) -> tuple[Predictor, TrainedTask]:
    """Return a predictor, and what it predicts; several `weights` are averaged.

    `task` and `dataset` as in `trained_task`. `overlap` and `side` are in pixels (None: a quarter of the
    tile; the prototxt's own side), `backend` is one of BACKENDS, `gpu` the number of the GPU that computes
    (None: the CPU); the others as in `Predictor`. `warn` gets one line where something is assumed.
    Raises NetError or WeightsError for files that are missing, broken, or do not belong together.
    """
    paths = [Path(weights)] if isinstance(weights, str | Path) else [Path(path) for path in weights]
    trained = [trained_task(path, deploy, task, dataset, warn) for path in paths]  # before Caffe is loaded
    first = trained[0]
    for path, other in zip(paths[1:], trained[1:], strict=True):
        if difference := first.dataset.difference(other.dataset):
            fact = f"learnt {difference} of {paths[0]}"
            raise WeightsError(card_path(path), fact, "average nets of one task")
    check_same_input(paths, trained, "average")
    remedy = "use a deploy net of this task"
    if len(first.bands) != deploy.channels:
        fact = f"takes {deploy.channels} bands, the weights learnt from {', '.join(first.bands)}"
        raise NetError(deploy.path, fact, remedy)
    nets = open_nets(backend, deploy, paths, first.task, side, batch, gpu)
    classes = len(first.dataset.classes)
    if nets[0].classes != classes:
        fact = f"{nets[0].output} has {nets[0].classes} channels, {first.task} {classes} classes"
        raise NetError(deploy.path, fact, remedy)
    fed = [NormalizedNet(net, known.mean, known.scale) for net, known in zip(nets, trained, strict=True)]
    predictor = Predictor(fed, overlap, batch, scales, flip)
    return predictor, replace(first, seen=first.seen.union(*(known.seen for known in trained)))
