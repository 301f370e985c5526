"""BatchNorm's statistics computed anew from the training crops of one task.

A classmate's net is trained with the statistics of all tasks' images together, and the moving means that it
keeps are of them; a map is made of one task's images alone. The statistics here are plain means over passes
with fixed weights, as PreciseBN's (Wu and Johnson, arXiv 2105.07576, section 3), of that task's crops.
"""

from pathlib import Path

from common.errors import DFCNetError
from common.files import memory_file
from common.numbers import check_number
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.emit import net_text
from prototxt_gen.experiment import Experiment
from prototxt_gen.fused_weights import is_statistics, plain_view
from prototxt_gen.model_card import read_card, write_card
from prototxt_gen.models import TRAIN, build
from training.gpus import check_gpus
from training.pycaffe import compute_on, import_caffe
from training.run import check_data
from training.weights import load_weights

MAX_PASSES = 1_000_000


def recompute_statistics(
    exp: Experiment, weights: Path, task: str, passes: int, out: Path, gpu: int | None = None
) -> None:
    """Write `weights` of an experiment to `out`, their statistics those of `passes` passes of one task.

    A pass has images_per_pass crops of the task's database. Only what the task's own net has is changed, and
    the card of `out` names this task alone. Raises DFCNetError where database or weights do not fit.
    """
    check_number("--passes", passes, 1, MAX_PASSES)
    check_gpus("--gpu", [] if gpu is None else [gpu], "leave it out")
    alone = _alone(exp, task)
    check_data(alone)
    caffe = import_caffe()
    compute_on(caffe, gpu)
    caffe.set_random_seed(exp.solver.random_seed)
    with memory_file(net_text(build(alone, TRAIN), ["for BatchNorm's statistics"])) as path:
        net = caffe.Net(path, caffe.TRAIN)
    load_weights(net, weights)
    statistics = {name: blobs for name, blobs in plain_view(net.params).items() if is_statistics(name)}
    for blob in (blob for blobs in statistics.values() for blob in blobs):
        blob.data[...] = 0
    for _ in range(passes):
        net.forward()
    whole = read_caffemodel(weights)
    kept = plain_view(whole)
    for name, blobs in statistics.items():
        for values, blob in zip(kept[name], blobs, strict=True):
            values[...] = blob.data.reshape(values.shape)
    write_caffemodel(out, exp.name, whole, overwrite=True)
    if card := read_card(weights):
        write_card(out, card.model_copy(update={"tasks": {task: card.tasks[task]}}))


def _alone(exp: Experiment, task: str) -> Experiment:
    """Return the experiment of one task, whose BatchNorm sums the statistics of all passes alike."""
    if exp.densenet.bn_frozen:
        raise DFCNetError(exp.name, "trains with frozen statistics", "use the weights as they are")
    settings = exp.task(task).model_copy(update={"class_weights": None, "validation": None})
    densenet = exp.densenet.model_copy(update={"bn_moving_average": 1.0})
    return exp.model_copy(update={"tasks": {task: settings}, "densenet": densenet, "multipliers": ()})
