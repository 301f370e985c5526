"""The paper's three nets (Table 1), each for training and for deployment from the same code.

r_i is the resolution after i halvings of the crop S = 32k+1: r_1 = (S + 1) / 2, r_2 = (r_1 + 1) / 2 ...
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from common.datasets import IGNORE
from common.errors import NetError
from prototxt_gen.blocks import (
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
from prototxt_gen.input_comment import BGR, input_comment
from prototxt_gen.layers import Blob, Net
from prototxt_gen.sides import is_side, neighbours

TRAIN, DEPLOY, FOLDED = "train", "deploy", "deploy_folded"


def build(
    exp: Experiment,
    phase: str,
    tasks: Sequence[str] | None = None,
    crop: int | None = None,
    folder: str = ".",
) -> Net:
    """Return the net of an experiment for `phase` "train", "deploy" or "deploy_folded".

    A deploy net takes one image (1, 3, crop, crop) and gives `<task>_prob` (1, classes, crop, crop) for
    each of `tasks` (default: all of the experiment's); its user may reshape it to any size 32k+1. The
    folded form has no BatchNorm and is of plain layers; its weights are made by `prototxt_gen.fold`. A
    train net looks for its class weights in `folder`.
    """
    tasks = _heads(exp, phase, tasks)
    folded = phase == FOLDED
    # Fused layers fold by themselves when they predict.
    fused = exp.densenet.dense_block == "fused" and not folded
    net = Net(exp.name, phase, _multipliers(exp, phase), folded, fused)
    if phase == TRAIN:
        data, labels = _training_data(net, exp)
    else:
        scale = 1.0 if net.folded else exp.input.scale  # folded into conv1
        net.section(input_comment(exp.input.bands, exp.input.mean, scale))
        size = exp.input.crop if crop is None else crop
        if not is_side(size):
            raise NetError(exp.name, f"input of side {size} is not 32k+1", f"take {neighbours(size)}")
        data, labels = net.input("data", (1, len(exp.input.bands), size, size)), {}
    deepest = (dfcnet if exp.model == "dfcnet" else fc_densenet)(net, exp, data)
    features = _task_features(net, exp, deepest, tasks)
    for task in tasks:
        net.section(f"Head of the {task} task")
        score = task_head(
            net, task, features[task], exp.tasks[task].classes, data.size, exp.head_channels, exp.densenet
        )
        if phase == TRAIN:
            settings = exp.tasks[task]
            net.loss(
                f"{task}/loss",
                score,
                labels[task],
                f"{task}_loss",
                settings.loss_weight,
                IGNORE,
                class_weights_file(folder, task) if settings.class_weights else None,
            )
        else:
            net.softmax(f"{task}_prob", score)
    _check_multipliers(net)
    return net


def class_weights_file(folder: str, task: str) -> str:
    """Return the name of the file that holds a task's class weights for Caffe."""
    return f"{folder}/{task}_class_weights.binaryproto"


def _heads(exp: Experiment, phase: str, tasks: Sequence[str] | None) -> list[str]:
    """Return the tasks that get a head, in the order of the batch axis."""
    known = exp.task_names()
    for task in tasks or ():
        if task not in known:
            raise NetError(exp.name, f"has no task {task}", f"choose of {', '.join(known)}")
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
        if not any(fnmatchcase(name, pattern) for name in net.plain_names()):
            raise NetError(net.name, f"multipliers: no layer is named {pattern}", "correct the pattern")


def fc_densenet(net: Net, exp: Experiment, data: Blob) -> Blob:
    """Trunk of baseline and classmate: DenseBlocks 2-8, "downsampling of 4 times" (3.2): r_2."""
    blocks, _ = _blocks_2_to_8(net, exp, data)
    net.section(f"Deepest feature, at r_2 = {blocks[8].size}")
    return transition(net, 8, blocks[8], exp.densenet.up_channels, exp.densenet)


def dfcnet(net: Net, exp: Experiment, data: Blob) -> Blob:
    """Trunk of DFCNet: DenseBlocks 2-9 and dense fusion, "downsampling of 2 times" (3.2): r_1."""
    fusion = DenseFusion(net, exp.fusion_channels, exp.densenet)
    blocks, at_r1 = _blocks_2_to_8(net, exp, data, fusion.add)
    fusion.add(9, _decoder_block(net, exp, 9, blocks[8], at_r1))
    return fusion.result()


def _blocks_2_to_8(
    net: Net, exp: Experiment, data: Blob, finished: Callable[[int, Blob], None] = lambda block, x: None
) -> tuple[dict[int, Blob], Blob]:
    """Encoder (DenseNet-121) and the decoder up to r_2; return the blocks' outputs and the stem's.

    `finished` is called with each block's output when it is there.
    """
    arch = exp.densenet
    net.section(f"Stem of DenseNet-121, to r_1 = {(data.size + 1) // 2}")
    at_r1 = stem(net, data, arch)
    x = net.pool("pool1", at_r1, "MAX", kernel=3, stride=2, pad=1)
    blocks = {}
    for block, units in zip((2, 3, 4, 5), arch.encoder_units, strict=True):
        net.section(f"DenseBlock {block}: {units} units at r_{block} = {x.size}")
        x = blocks[block] = dense_block(net, block, [x], units, arch)
        finished(block, x)
        if block < 5:
            net.section(f"Transition down {block} -> {block + 1}")
            x = transition_down(net, block, x, arch)
    for block, skip in ((6, 4), (7, 3), (8, 2)):
        blocks[block] = _decoder_block(net, exp, block, blocks[block - 1], blocks[skip])
        finished(block, blocks[block])
    return blocks, at_r1


def _decoder_block(net: Net, exp: Experiment, block: int, x: Blob, skip: Blob) -> Blob:
    """Transition up from the block before, Concat with the skip of the same resolution, DenseBlock."""
    units = exp.densenet.decoder_units[block - 6]
    net.section(f"Transition up {block - 1} -> {block}")
    bottoms = transition_up(net, block - 1, x, skip, exp.densenet)
    net.section(f"DenseBlock {block}: {units} units at r_{10 - block} = {skip.size}")
    return dense_block(net, block, bottoms, units, exp.densenet)


def _training_data(net: Net, exp: Experiment) -> tuple[Blob, dict[str, Blob]]:
    """One LMDB per task; image and label are cropped and mirrored together, as channels of one record."""
    images, labels = [], {}
    crop, batch, bands = exp.input.crop, exp.solver.images_per_pass, exp.input.bands
    channels = "B, G, R" if bands == BGR else ", ".join(bands)
    for task in exp.task_names():
        net.section(f"Data of the {task} task: records of {channels}, label")
        mean, shape = [*exp.input.mean, 0], (batch, len(bands) + 1, crop, crop)
        record = net.data(f"{task}_data", exp.tasks[task].source, shape, mean, exp.input.mirror)
        names = ["data" if len(exp.tasks) == 1 else f"{task}_image", f"{task}_label"]
        image, labels[task] = net.slice(f"{task}_slice", record, names, axis=1, points=[len(bands)])
        images.append(image)
    if len(images) == 1:
        data = images[0]
    else:
        net.section("Classmate concat (2.2): both tasks' images in one batch")
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
