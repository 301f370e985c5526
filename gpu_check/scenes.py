"""A training on real scenes where OpenCV is not: <id>_sat.jpg and <id>_mask.png, read by Pillow."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from common.datasets import IGNORE
from common.errors import DataError
from gpu_check.deadline import Deadline
from gpu_check.nets import experiment
from gpu_check.records import write_records
from gpu_check.rows import Row
from gpu_check.training import train as train_run
from prototxt_gen.experiment import Experiment
from training.curves import read_log, read_steps

PROBE = 12  # iterations that are timed
STEADY = 4  # of them are not: algorithms are chosen, memory is taken
HOLD_OUT = 5  # every fifth scene, by id sorted as text, is for validation
SIDE = 256  # pixels of a record
EVERY = 20  # iterations: a whole number of them is made


def write_databases(exp: Experiment, scenes: Path, out: Path, side: int) -> dict[str, Path]:
    """Write the databases of a folder that holds land/ and road/; return {"land", "validation", "road"}.

    A scene is one record, resized to side x side pixels. Raises DataError where there are no scenes.
    """
    land = _scenes(scenes / "land")
    validation = set(land[HOLD_OUT - 1 :: HOLD_OUT])
    parts = {
        "land": ("land", [path for path in land if path not in validation]),
        "validation": ("land", sorted(validation)),
        "road": ("road", _scenes(scenes / "road")),
    }
    databases = {}
    for part, (task, paths) in parts.items():
        dataset = exp.tasks[task].dataset
        records = _records(paths, dataset.palette, side)
        databases[part] = write_records(out / part, dataset, exp.input.bands, side, records)
    return databases


def _scenes(folder: Path) -> list[Path]:
    images = sorted(folder.glob("*_sat.jpg"))
    if not images:
        raise DataError(
            folder, "holds no <id>_sat.jpg", "give the folder that holds land/ and road/ by --scenes"
        )
    return images


def _records(paths: Sequence[Path], colours: Sequence[Sequence[int]], side: int) -> Iterator[np.ndarray]:
    from PIL import Image

    for path in paths:
        mask = path.with_name(path.name.replace("_sat.jpg", "_mask.png"))
        image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        painted = Image.open(mask).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
        labels = labels_of(np.asarray(painted), colours)
        yield np.concatenate([np.asarray(image)[..., ::-1], labels[..., None]], axis=2).transpose(2, 0, 1)


def labels_of(mask: np.ndarray, colours: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the labels (H, W) of a mask's colours (H, W, 3), each channel cut at 128."""
    labels = np.full(mask.shape[:2], IGNORE, np.uint8)
    for label, colour in enumerate(colours):
        labels[((mask >= 128) == (np.array(colour) >= 128)).all(axis=2)] = label
    return labels


def train(
    scenes: Path,
    folder: Path,
    name: str,
    gpus: Sequence[int],
    seconds: float,
    deadline: Deadline,
    *settings: str,
) -> Row:
    """Train an experiment for about `seconds`; return a row with the score of scenes that it has not seen.

    As many iterations are made as the time allows, by those of a short run before.
    """
    begin = time.monotonic()
    settings = ("densenet.dense_block='fused'", *settings)
    exp = experiment(name, settings)
    databases = write_databases(exp, scenes, folder / "data", max(SIDE, exp.input.crop))
    options = [*settings, *(f"tasks.{task}.source='{databases[task]}'" for task in exp.tasks)]
    probe = [f"solver.max_iter={PROBE}", f"solver.snapshot={PROBE}", "solver.display=1"]
    train_run(folder / "probe", [*options, *probe], gpus, deadline, name=name)
    rates = [step["images_per_second"] for step in read_steps(folder / "probe" / "log.jsonl")]
    step = exp.solver.batch_size / float(np.median(rates[STEADY:]))
    iterations = max(2 * EVERY, int((seconds - (time.monotonic() - begin)) / step) // EVERY * EVERY)
    options += [
        f"tasks.land.validation='{databases['validation']}'",
        f"solver.max_iter={iterations}",
        f"solver.snapshot={iterations}",
        f"solver.validate_every={iterations // 2}",
    ]
    began = time.monotonic()
    run = train_run(folder / "run", options, gpus, deadline, name=name)
    scores = list(read_log(run.folder)["land mIoU"].values())
    losses = {task: f"{values[0]:.2f} to {values[-1]:.2f}" for task, values in run.losses.items()}
    words = (
        f"{iterations} iterations of {exp.solver.batch_size} crops of {exp.input.crop} in "
        f"{time.monotonic() - began:.0f} s ({1000 * step:.0f} ms each), losses {losses}, "
        f"mIoU of unseen scenes {100 * scores[-1]:.1f} %"
    )
    numbers = {"iterations": iterations, "step_seconds": step, "miou": scores, "losses": run.losses}
    return Row("training on real scenes", bool(np.isfinite(scores[-1])), words, numbers)
