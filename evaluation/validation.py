"""Scores of a net while it trains: held-out records through the current weights, shared and not copied."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lmdb
import numpy as np

from common.files import memory_file
from common.numbers import json_number
from data_prep.datums import from_datum
from evaluation.metrics import confusion, scores
from inference.predictor import preprocess
from prototxt_gen.emit import net_text
from prototxt_gen.experiment import Experiment
from prototxt_gen.models import DEPLOY, OUTPUT_SUFFIX, build


@dataclass
class Validation:
    """Called with (caffe, the solver's net), returns {"miou", "tasks": {task: {"miou", "iou"}}}.

    Each record of a task's validation database is cut to the crop in its middle. "miou" is that of
    the first task that has one; None where the labels know no pixel.
    """

    experiment: Experiment
    _net: object = field(default=None, repr=False)

    @classmethod
    def of(cls, experiment: Experiment) -> "Validation | None":
        """Return the validation that an experiment asks for, or None."""
        return cls(experiment) if experiment.solver.validate_every else None

    def __call__(self, caffe, trained) -> dict:
        """Score the weights of `trained`; the state of the solver is not touched."""
        if self._net is None:
            self._net = self._build(caffe)
        self._net.share_with(trained)
        tasks = {}
        for name in self.experiment.task_names():
            if source := self.experiment.tasks[name].validation:
                tasks[name] = self._score(name, Path(source))
        return {"miou": next(iter(tasks.values()))["miou"], "tasks": tasks}

    def _build(self, caffe):
        with memory_file(net_text(build(self.experiment, DEPLOY), ["for validation"])) as path:
            net = caffe.Net(path, caffe.TEST)
        net.plan_memory()
        return net

    def _score(self, task: str, source: Path) -> dict:
        classes = self.experiment.tasks[task].dataset.class_names
        settings, matrix = self.experiment.input, 0
        for image, label in _records(source, settings.crop):
            self._net.blobs["data"].data[0] = preprocess(image, settings.mean, settings.scale)
            answer = self._net.forward()[f"{task}{OUTPUT_SUFFIX}"][0].argmax(axis=0)
            matrix = matrix + confusion(label, answer, len(classes))
        result = scores(matrix)
        iou = map(json_number, result["iou"])
        return {"miou": json_number(result["miou"]), "iou": dict(zip(classes, iou, strict=True))}


def _records(source: Path, crop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (image (crop, crop, bands), label (crop, crop)) of each record, cut in the middle."""
    with lmdb.open(str(source), readonly=True, lock=False) as environment, environment.begin() as reading:
        for _, value in reading.cursor():
            record = from_datum(bytes(value), source)
            top, left = ((size - crop) // 2 for size in record.shape[1:])
            record = record[:, top : top + crop, left : left + crop]
            yield record[:-1].transpose(1, 2, 0), record[-1]
