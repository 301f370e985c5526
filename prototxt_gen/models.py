"""The paper's nets (Table 1), each for training and for deployment from the same code.

FC-DenseNet on one task is the baseline, on several tasks ClassmateNet; with dense fusion it is DFCNet. r_i
is the resolution after i halvings of the crop S = 32k+1: r_1 = (S + 1) / 2, r_2 = (r_1 + 1) / 2 ...
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from common.datasets import IGNORE
from common.errors import NetError
from prototxt_gen.blocks import (
    TASK,
    DenseFusion,
    classmate_concat,
    classmate_slice,
    dense_block,
    stem,
    task_head,
    transition,
    transition_down,
    transition_up,
)
from prototxt_gen.experiment import Experiment
from prototxt_gen.fuse import fuse
from prototxt_gen.input_comment import BGR, input_comment
from prototxt_gen.layers import Blob, Net
from prototxt_gen.shapes import is_input_size, nearest_input_sizes

TRAIN, DEPLOY = "train", "deploy"
DENSENET_121 = (6, 12, 24, 16)  # units of its DenseBlocks
OUTPUT_SUFFIX = "_prob"  # of the blob of a task's probabilities in a deploy net


def build(
    exp: Experiment,
    phase: str,
    tasks: Sequence[str] | None = None,
    crop: int | None = None,
    folder: str = ".",
) -> Net:
    """Return the net of an experiment for `phase` "train" or "deploy".

    A deploy net takes one image (1, bands, crop, crop) and gives `<task>_prob` (1, classes, crop, crop) for
    each of `tasks` (default: all of the experiment's); its user may reshape it to any size 32k+1. A train net
    looks for its class weights in `folder`.
    """
    tasks = _heads(exp, phase, tasks)
    net = Net(exp.name, phase, _multipliers(exp, phase))
    data, labels = _training_data(net, exp) if phase == TRAIN else (_deploy_input(net, exp, crop), {})
    features = _task_features(net, exp, trunk(net, exp, data), tasks)
    for task in tasks:
        settings = exp.tasks[task]
        net.section(f"Head of the {task} task")
        with net.group(TASK, task):
            score = task_head(
                net, task, features[task], settings.classes, data.size, exp.head_channels, exp.densenet
            )
            if phase == TRAIN:
                net.loss(
                    f"{task}/loss",
                    score,
                    labels[task],
                    loss_of(task),
                    settings.loss_weight,
                    IGNORE,
                    class_weights_file(folder, task) if settings.class_weights else None,
                )
            else:
                net.softmax(f"{task}{OUTPUT_SUFFIX}", score)
    _check_multipliers(net)
    if exp.densenet.dense_block == "fused":
        return fuse(net, exp.densenet.keep_bottlenecks and phase == TRAIN)
    return net


def loss_of(task: str) -> str:
    """Return the name of the blob that holds a task's loss in a train net."""
    return f"{task}_loss"


def class_weights_file(folder: str, task: str) -> str:
    """Return the name of the file that holds a task's class weights for Caffe."""
    return f"{folder}/{task}_class_weights.binaryproto"


def _heads(exp: Experiment, phase: str, tasks: Sequence[str] | None) -> list[str]:
    """Return the tasks that get a head, in the order of the batch axis."""
    known = exp.task_names()
    for task in tasks or ():
        if task not in known:
            raise NetError(exp.name, f"has no task {task}", f"choose from {', '.join(known)}")
    if phase == TRAIN and tasks and set(tasks) != set(known):
        raise NetError(
            exp.name, f"trains {' and '.join(known)} together", "choose heads of a deploy net alone"
        )
    return [task for task in known if not tasks or task in tasks]


def _multipliers(exp: Experiment, phase: str) -> list[tuple[str, float, float]]:
    """Return (pattern, lr_mult, decay_mult) for a train net; a deploy net needs none."""
    return [(m.layers, m.lr, m.decay) for m in exp.multipliers] if phase == TRAIN else []


def _check_multipliers(net: Net) -> None:
    for pattern, _, _ in net.multipliers:
        if not any(fnmatchcase(name, pattern) for name in net.parameter_shapes()):
            raise NetError(net.name, f"multipliers: no layer is named {pattern}", "correct the pattern")


def trunk(net: Net, exp: Experiment, data: Blob) -> Blob:
    """FC-DenseNet, up to the deepest feature that all tasks share.

    Without dense fusion that follows the last DenseBlock: "downsampling of 4 times" (3.2), r_2, behind
    DenseBlock 8. With it, it is the one map of DenseBlocks 2-9: "downsampling of 2 times" (3.2), r_1.
    """
    fusion = DenseFusion(net, exp.fusion, exp.densenet) if exp.fusion else None
    for block, x in _dense_blocks(net, exp, data):
        if fusion:
            fusion.add(block, x)
    if fusion:
        return fusion.result()
    net.section(f"Deepest feature, at r_{10 - block} = {x.size}", "Deepest feature")
    return transition(net, block, x, exp.densenet.up_channels, exp.densenet)


def _dense_blocks(net: Net, exp: Experiment, data: Blob) -> Iterator[tuple[int, Blob]]:
    """Add encoder and decoder; yield each DenseBlock's number and output when it is there.

    DenseBlock b of the decoder has the resolution, and the skip, of DenseBlock 10 - b; 9 has the stem's.
    """
    arch = exp.densenet
    name = "DenseNet-121" if arch.encoder_units == DENSENET_121 else "DenseNet"
    net.section(f"Stem of {name}, to r_1 = {(data.size + 1) // 2}", "Stem")
    skips = {1: stem(net, data, arch)}
    x = net.pool("pool1", skips[1], "MAX", kernel=3, stride=2, pad=1)
    for block, units in enumerate(arch.encoder_units, start=2):
        net.section(f"DenseBlock {block}: {units} units at r_{block} = {x.size}", f"DenseBlock {block}")
        x = skips[block] = dense_block(net, block, x, units, arch)
        yield block, x
        if block < 5:
            net.section(f"Transition down {block} -> {block + 1}")
            x = transition_down(net, block, x, arch)
    for block, units in enumerate(arch.decoder_units, start=6):
        net.section(f"Transition up {block - 1} -> {block}")
        x = transition_up(net, block - 1, x, skips[10 - block], arch)
        net.section(f"DenseBlock {block}: {units} units at r_{10 - block} = {x.size}", f"DenseBlock {block}")
        x = dense_block(net, block, x, units, arch)
        yield block, x


def _deploy_input(net: Net, exp: Experiment, crop: int | None) -> Blob:
    """One image of the experiment's crop, or of another."""
    size = exp.input.crop if crop is None else crop
    if not is_input_size(size):
        raise NetError(exp.name, f"input of side {size} is not 32k+1", f"take {nearest_input_sizes(size)}")
    net.section(input_comment(exp.input.bands, exp.input.mean, exp.input.scale))
    return net.input("data", (1, len(exp.input.bands), size, size))


def _training_data(net: Net, exp: Experiment) -> tuple[Blob, dict[str, Blob]]:
    """One LMDB per task; image and label are cropped and mirrored together, as channels of one record."""
    images, labels = [], {}
    crop, batch, bands = exp.input.crop, exp.solver.images_per_pass, exp.input.bands
    channels = "B, G, R" if bands == BGR else ", ".join(bands)
    for task in exp.task_names():
        net.section(f"Data of the {task} task: records of {channels}, label")
        mean, shape = [*exp.input.mean, 0], (batch, len(bands) + 1, crop, crop)
        names = ["data" if len(exp.tasks) == 1 else f"{task}_image", f"{task}_label"]
        with net.group(TASK, task):
            record = net.data(f"{task}_data", exp.tasks[task].source, shape, mean, exp.input.mirror)
            image, labels[task] = net.slice(f"{task}_slice", record, names, axis=1, points=[len(bands)])
        images.append(image)
    if len(images) == 1:
        data = images[0]
    else:
        quantity = "both" if len(images) == 2 else "all"
        net.section(f"Classmate concat (2.2): {quantity} tasks' images in one batch")
        data = classmate_concat(net, images)
    return net.power("data/scale", data, exp.input.scale), labels


def _task_features(net: Net, exp: Experiment, x: Blob, tasks: Sequence[str]) -> dict[str, Blob]:
    """The deepest feature for each task: sliced in a joint training batch, else the same for all."""
    if net.phase != TRAIN or len(exp.tasks) == 1:
        return dict.fromkeys(tasks, x)
    net.section("Classmate slice (2.2): the tasks part at the deepest feature")
    return dict(
        zip(tasks, classmate_slice(net, x, tasks, [exp.solver.images_per_pass] * len(tasks)), strict=True)
    )
