"""Writes synthetic scenes into folders like DeepGlobe's."""

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from common.errors import DataError, OutputError
from common.files import staged_folder
from common.numbers import check_number
from data_prep.synthetic.scene import make_scene

SMALLEST, LARGEST = 64, 8192
MAX_SCENES = 999_999  # ids have six digits
JPEG_QUALITY = 95


def write_scenes(out: Path, counts: dict[str, int], size: int, seed: int, overwrite: bool = False) -> None:
    """Write `counts[task]` scenes of `size` x `size` pixels to `out`/task/, whole or not at all.

    Ids are 000000, 000001, ...; the same arguments give the same files. A task with count 0 gets no
    folder. Raises DataError for values that make no scenes, OutputError for an `out` in the way.
    """
    check_number("--size", size, SMALLEST, LARGEST)
    check_number("--seed", seed, 0)
    for task, count in counts.items():
        check_number(f"--{task}", count, 0, MAX_SCENES)
    if not any(counts.values()):
        raise DataError(" and ".join(f"--{task}" for task in counts), "are 0", "ask for at least one scene")
    jobs = [(task, number) for task, count in counts.items() for number in range(count)]
    with staged_folder(out, overwrite, markers=tuple(counts)) as staged:
        for task, number in tqdm(jobs, unit="scene", desc="scenes", disable=None):
            (staged / task).mkdir(exist_ok=True)
            image, mask = make_scene(task, size, seed, number)
            _write(staged / task / f"{number:06d}_sat.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            _write(staged / task / f"{number:06d}_mask.png", mask, [])


def _write(path: Path, rgb: np.ndarray, options: list[int]) -> None:
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(
            path, f"cannot be written ({error.strerror})", "check the disk's free space"
        ) from error
