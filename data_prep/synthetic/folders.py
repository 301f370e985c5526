"""Writes synthetic scenes into folders like DeepGlobe's, or as GeoTIFFs like those of a survey."""

from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.errors import RasterioIOError
from rasterio.transform import from_origin
from tqdm import tqdm

from common.datasets import IGNORE, read_dataset
from common.errors import DataError, OutputError
from common.files import staged_folder
from common.numbers import check_number
from data_prep.masks import labels_from_exact_colours
from data_prep.synthetic.scene import DATASETS, make_scene

SMALLEST, LARGEST = 64, 8192
MAX_SCENES = 999_999  # ids have six digits
JPEG_QUALITY = 95
CRS, PIXEL = "EPSG:32632", 0.5  # of GeoTIFFs: UTM zone 32 north, metres
WEST, NORTH = 500_000, 5_300_000  # of the first scene; the others lie east of it, ten in a row


def write_scenes(
    out: Path, counts: dict[str, int], size: int, seed: int, overwrite: bool = False, geotiff: bool = False
) -> None:
    """Write `counts[task]` scenes of `size` x `size` pixels to `out`/task/, whole or not at all.

    Ids are 000000, 000001, ...; the same arguments give the same files. A task with count 0 gets no
    folder. With `geotiff` images and masks have a place on the ground, and masks hold numbers: classes from 1
    in the data set's order, 0 (nodata) for what it ignores. Raises DataError for values that make no scenes,
    OutputError for an `out` in the way.
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
            if geotiff:
                _write_geotiffs(staged / task, number, task, image, mask)
                continue
            _write(staged / task / f"{number:06d}_sat.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            _write(staged / task / f"{number:06d}_mask.png", mask, [])


def _write(path: Path, rgb: np.ndarray, options: list[int]) -> None:
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise _unwritable(path, error.strerror) from error


def _write_geotiffs(folder: Path, number: int, task: str, rgb: np.ndarray, mask: np.ndarray) -> None:
    labels = labels_from_exact_colours(mask, read_dataset(DATASETS[task]))
    values = np.where(labels == IGNORE, 0, labels + 1).astype(np.uint8)
    side = rgb.shape[0] * PIXEL
    row, column = divmod(number, 10)
    transform = from_origin(WEST + column * side, NORTH - row * side, PIXEL, PIXEL)
    for name, bands, nodata in (("sat", rgb.transpose(2, 0, 1), None), ("mask", values[None], 0)):
        path = folder / f"{number:06d}_{name}.tif"
        profile = {"driver": "GTiff", "compress": "deflate", "dtype": "uint8", "nodata": nodata}
        profile |= {"count": len(bands), "height": rgb.shape[0], "width": rgb.shape[1]}
        try:
            with rasterio.open(path, "w", crs=CRS, transform=transform, **profile) as file:
                file.write(bands)
        except RasterioIOError as error:
            raise _unwritable(path, error) from error


def _unwritable(path: Path, why: object) -> OutputError:
    return OutputError(path, f"cannot be written ({why})", "check the disk's free space")
