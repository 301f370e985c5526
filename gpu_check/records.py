"""Small databases of raw records, whose images tell their labels: something that a net can learn."""

import json
from pathlib import Path

import numpy as np

from common.datasets import Dataset
from data_prep.growing_lmdb import GrowingLMDB
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.experiment import Experiment

PATCH = 32  # pixels of one label


def write_records(folder: Path, dataset: Dataset, bands: tuple[str, ...], side: int, count: int) -> Path:
    """Write an LMDB of `count` records (bands + 1, side, side) with its manifest; return it.

    Raw, not PNG: so a Caffe without OpenCV reads it.
    """
    classes = len(dataset.classes)
    rng = np.random.default_rng(classes)
    folder.mkdir(parents=True)
    with GrowingLMDB(folder) as database:
        for number in range(count):
            labels = rng.integers(0, classes, (side // PATCH + 1,) * 2, np.uint8)
            label = np.kron(labels, np.ones((PATCH, PATCH), np.uint8))[:side, :side]
            image = label * (200 // classes) + rng.integers(0, 50, (len(bands), side, side), np.uint8)
            data = np.concatenate([image.astype(np.uint8), label[None]]).tobytes()
            datum = caffe_pb2().Datum(channels=len(bands) + 1, height=side, width=side, data=data)
            database.put(f"{number:08d}", datum.SerializeToString())
    manifest = {"format": 2, "dataset": dataset.model_dump(mode="json"), "bands": bands, "side": side}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def sources(exp: Experiment, folder: Path, count: int, margin: int = 8) -> list[str]:
    """Write a database for each task of an experiment; return the settings that name them.

    Records are `margin` pixels larger than the crop.
    """
    return [
        f"tasks.{task}.source="
        f"'{write_records(folder / task, settings.dataset, exp.input.bands, exp.input.crop + margin, count)}'"
        for task, settings in exp.tasks.items()
    ]
