"""Nets with random weights, and what Caffe answers with them."""

from pathlib import Path
from zlib import crc32

import numpy as np

from prototxt_gen.caffemodel import write_caffemodel
from prototxt_gen.emit import net_message, net_text
from prototxt_gen.experiment import Experiment
from prototxt_gen.fold import fold
from prototxt_gen.model_card import ModelCard, write_card
from prototxt_gen.models import DEPLOY, build


def random_weights(net) -> dict[str, list[np.ndarray]]:
    """Return weights of a trained-like net: statistics far from 0 and 1, some scales negative, count 3.

    Those of a layer depend on its name and shapes alone, and not on its place in the net.
    """
    weights = {}
    for layer in net.layers:
        if not layer.params:
            continue
        rng = np.random.default_rng([11, crc32(layer.name.encode())])
        blobs = [rng.normal(size=shape).astype(np.float32) for shape in layer.params]
        if layer.type == "Convolution":
            blobs[0] /= np.sqrt(np.prod(layer.params[0][1:]))
        elif layer.type == "BatchNorm":  # sums of 3 batches
            blobs = [3 * blobs[0], 3 * rng.uniform(0.1, 4, layer.params[1]), np.full((1,), 3.0)]
        weights[layer.name] = blobs
    return weights


def folded(exp: Experiment, **options: object):
    """Return (NetParameter, weights) of an experiment's deploy net without BatchNorm."""
    net = build(exp, DEPLOY, **options)
    return fold(net_message(net), random_weights(net.plain), exp.name)


def answer(tmp_path: Path, text: str, weights: dict, image: np.ndarray) -> dict[str, np.ndarray]:
    from training.pycaffe import import_caffe
    from training.weights import load_weights

    caffe = import_caffe()
    caffe.set_mode_cpu()
    (tmp_path / "net.prototxt").write_text(text)
    write_caffemodel(tmp_path / "w.caffemodel", "net", weights, overwrite=True)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    load_weights(net, tmp_path / "w.caffemodel")
    net.blobs["data"].data[...] = image
    net.forward()
    return {name: blob.data.copy() for name, blob in net.blobs.items()}


def write_random_net(folder: Path, exp: Experiment) -> tuple[Path, Path]:
    """Write a deploy net with random weights, and their card, for DeepGlobe's tasks; return both paths."""
    net, weights = build(exp, DEPLOY), folder / "w.caffemodel"
    (folder / "deploy.prototxt").write_text(net_text(net, ["x"]))
    values = random_weights(net)
    values["road/score"][1][:] = (1.12, 0)  # about as much road as not
    write_caffemodel(weights, exp.name, values, overwrite=True)
    tasks = {name: task.dataset for name, task in exp.tasks.items()}
    given = {"mean": exp.input.mean, "scale": exp.input.scale, "crop": exp.input.crop, "tasks": tasks}
    write_card(weights, ModelCard(experiment=exp.name, model=exp.model, iteration=0, **given))
    return folder / "deploy.prototxt", weights
