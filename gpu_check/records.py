"""Databases of raw records, which a Caffe without OpenCV reads."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from common.datasets import Dataset
from data_prep.growing_lmdb import GrowingLMDB
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.experiment import Experiment

PATCH = 32  # pixels of one label


def write_records(
    folder: Path, dataset: Dataset, bands: Sequence[str], side: int, records: Iterable[np.ndarray]
) -> Path:
    """Write an LMDB of records (bands and label, side, side), uint8, with its manifest; return it."""
    folder.mkdir(parents=True)
    with GrowingLMDB(folder) as database:
        for number, record in enumerate(records):
            data, channels = record.tobytes(), len(bands) + 1
            datum = caffe_pb2().Datum(channels=channels, height=side, width=side, data=data)
            database.put(f"{number:08d}", datum.SerializeToString())
    manifest = {"format": 2, "dataset": dataset.model_dump(mode="json"), "bands": bands, "side": side}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def learnable(classes: int, bands: int, side: int, count: int) -> Iterator[np.ndarray]:
    """Yield records whose images show their labels: something that a net can learn."""
    rng = np.random.default_rng(classes)
    for _ in range(count):
        labels = rng.integers(0, classes, (side // PATCH + 1,) * 2, np.uint8)
        label = np.kron(labels, np.ones((PATCH, PATCH), np.uint8))[:side, :side]
        image = label * (200 // classes) + rng.integers(0, 50, (bands, side, side), np.uint8)
        yield np.concatenate([image.astype(np.uint8), label[None]])


def sources(exp: Experiment, folder: Path, count: int, margin: int = 8) -> list[str]:
    """Write a database for each task of an experiment; return the settings that name them.

    Records are `margin` pixels larger than the crop.
    """
    side, bands = exp.input.crop + margin, exp.input.bands
    databases = {
        task: write_records(
            folder / task, each.dataset, bands, side, learnable(each.classes, len(bands), side, count)
        )
        for task, each in exp.tasks.items()
    }
    return [f"tasks.{task}.source='{database}'" for task, database in databases.items()]
