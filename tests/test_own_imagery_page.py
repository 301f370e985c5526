"""docs/own_imagery.md goes all the way as it is written, on scenes as it describes them."""

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from prototxt_gen.experiment import read_experiment
from tests.test_readme import ROOT, commands, fences

PAGE = ROOT / "docs" / "own_imagery.md"
SMALLER = {
    "crop = 129": "crop = 65",
    "max_iter = 400": "max_iter = 4",
    "validate_every = 200": "validate_every = 4",
    "snapshot = 200": "snapshot = 4",
}
VALUES = (1, 2, 40, 7, 99)


def write_scene(folder: Path, number: int) -> None:
    """Four bands of 16 bits, and a mask of the page's values."""
    rng = np.random.default_rng(number)
    values = np.kron(rng.choice(np.array(VALUES, np.uint8), (8, 8)), np.ones((14, 14), np.uint8))
    image = 600 + 12 * values.astype(int) + rng.integers(0, 200, (4, *values.shape))
    profile = {"driver": "GTiff", "height": 112, "width": 112, "crs": "EPSG:32632"}
    profile |= {"transform": from_origin(600000 + 500 * number, 5300000, 2, 2)}
    for name, bands in (("sat", image.astype(np.uint16)), ("mask", values[None])):
        path = folder / f"{number:02d}_{name}.tif"
        with rasterio.open(
            path, "w", count=len(bands), dtype=bands.dtype, photometric="MINISBLACK", **profile
        ) as file:
            file.write(bands)


@pytest.mark.caffe
@pytest.mark.timeout(900)
def test_the_pages_files_and_commands_lead_to_maps_scores_and_a_report(tmp_path, monkeypatch, run_tool):
    """The page's own net is checked whole; what is trained here is smaller, and for fewer iterations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    dataset, experiment = fences(PAGE, "toml")
    (tmp_path / "valley.toml").write_text(dataset)
    (tmp_path / "own.toml").write_text(experiment)
    classes = read_experiment(tmp_path / "own.toml").tasks["cover"].classes
    assert classes == len(tomllib.loads(dataset)["classes"])
    for old, new in SMALLER.items():
        assert experiment.count(old) == 1
        experiment = experiment.replace(old, new)
    (tmp_path / "own.toml").write_text(experiment)
    (tmp_path / "my_maps").mkdir()
    for number in range(6):
        write_scene(tmp_path / "my_maps", number)
    wanted = [words for words in commands(PAGE) if words[:1] == ["dfcnet"]]
    assert len(wanted) == 11
    for _, command, *arguments in wanted:
        done = run_tool(f"{command.replace('-', '_')}.py", *arguments)
        assert done.returncode == 0, f"{shlex.join([command, *arguments])}: {done.stdout}{done.stderr}"
    with rasterio.open(tmp_path / "maps" / "04_mask.tif") as file:
        assert file.tags()["classes"] == "0 house, 1 field, 2 lake"
    for name in ("own.png", "maps.png", "scores.json", "own.onnx", "runs/own/report.html"):
        assert (tmp_path / name).stat().st_size > 0
    assert re.search(r"</i>lake<", (tmp_path / "runs" / "own" / "report.html").read_text())


def test_the_readmes_data_set_is_one_and_its_commands_build_what_the_pages_experiment_names(tmp_path):
    (dataset,), (_, experiment) = fences(ROOT / "README.md", "toml"), fences(PAGE, "toml")
    (tmp_path / "valley.toml").write_text(dataset)
    (tmp_path / "own.toml").write_text(experiment)
    task = read_experiment(tmp_path / "own.toml").tasks["cover"]
    assert task.classes == 3
    built = [words for words in commands(ROOT / "README.md") if words[:2] == ["dfcnet", "build-lmdb"]]
    assert (len(built), task.validation) == (2, "data/own_test_lmdb")
    assert built[1][-2:] == ["--part", "test"]
