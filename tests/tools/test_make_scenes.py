"""The command writes folders that the rest of the project takes as DeepGlobe's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

from data_prep.scenes import find_scenes
from tests.datasets import DATASETS, read_truth

TOOL = Path(__file__).parents[2] / "tools" / "make_scenes.py"


def make(*options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, TOOL, *map(str, options)], capture_output=True, text=True, check=False
    )


def test_it_writes_scenes_that_are_read_strictly(tmp_path):
    done = make("--out", tmp_path / "s", "--land", 3, "--road", 2, "--size", 128, "--seed", 9)
    assert done.returncode == 0, done.stderr
    for task, count in (("land", 3), ("road", 2)):
        scenes = find_scenes([tmp_path / "s" / task], DATASETS[task])
        assert len(scenes) == count
        for scene in scenes:
            assert read_truth(scene.mask, DATASETS[task]).shape == (128, 128)


def test_the_same_seed_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        make("--out", tmp_path / name, "--land", 2, "--road", 1, "--size", 128, "--seed", 9)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_existing_folder_is_kept_without_overwrite(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine.txt").write_text("keep")
    done = make("--out", tmp_path / "s", "--land", 1, "--size", 64)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--overwrite" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["s", "mine.txt"]
    done = make("--out", tmp_path / "s", "--land", 1, "--size", 64, "--overwrite")
    assert "is a folder of something else" in done.stderr
    (tmp_path / "s" / "mine.txt").unlink()
    (tmp_path / "s" / "road").mkdir()
    assert make("--out", tmp_path / "s", "--land", 1, "--size", 64, "--overwrite").returncode == 0
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["land"]


def test_geotiffs_lie_side_by_side_and_hold_what_the_pictures_hold(tmp_path):
    for folder, option in (("pictures", []), ("rasters", ["--geotiff"])):
        done = make("--out", tmp_path / folder, "--land", 12, "--size", 64, "--seed", 4, *option)
        assert done.returncode == 0, done.stderr
    colours = [(0, 0, 0), (0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255), (255,) * 3]
    corners = []
    for number in range(12):
        id = f"{number:06d}"
        picture = np.asarray(Image.open(tmp_path / "pictures" / "land" / f"{id}_mask.png"))
        with rasterio.open(tmp_path / "rasters" / "land" / f"{id}_mask.tif") as file:
            assert (np.array(colours, np.uint8)[file.read(1)] == picture).all()
            assert (file.nodata, file.crs.to_epsg(), file.res) == (0, 32632, (0.5, 0.5))
            corners.append((file.bounds.left, file.bounds.top))
        jpeg = np.asarray(Image.open(tmp_path / "pictures" / "land" / f"{id}_sat.jpg"))
        with rasterio.open(tmp_path / "rasters" / "land" / f"{id}_sat.tif") as file:
            assert np.abs(file.read().transpose(1, 2, 0) - jpeg.astype(int)).mean() < 6  # JPEG's own loss
    assert corners == [(500000 + 32 * (n % 10), 5300000 - 32 * (n // 10)) for n in range(12)]
