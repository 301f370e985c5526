"""Somebody's own data sets and classes, from verify to report: TOML files alone, no code."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from tests.conftest import TINY

pytestmark = [pytest.mark.caffe, pytest.mark.timeout(600)]
CROPS = {
    "wheat": (214, 190, 60),
    "maize": (120, 170, 40),
    "beet": (90, 130, 90),
    "meadow": (160, 210, 130),
    "orchard": (70, 90, 20),
    "forest edge": (30, 70, 60),
    "bare soil": (150, 110, 80),
    "greenhouse": (200, 215, 225),
    "pond": (50, 90, 160),
}
FIELDS = """
title = "Fields of one valley"
images = ["*_img.tif"]
masks = ["*_crops.png"]
bands = ["blue", "green", "red", "nir"]
resize = [0.9, 1.1]
stretch = [400, 3200]
tolerance = 12
classes = [
{classes}
]
[ignore]
colours = [[0, 0, 0]]
"""
HEDGES = """
title = "Hedges"
images = ["*_img.tif"]
masks = ["*_hedge.tif"]
bands = ["blue", "green", "red", "nir"]
resize = [0.8, 1.2]
classes = [{ name = "open", values = [10] }, { name = "hedge", values = [20, 21] }]
"""
LOVEDA = """
title = "Index masks in folders of their own"
images = ["images_png/*.png"]
masks = ["masks_png/*.png"]
bands = ["red", "green", "blue"]
resize = [0.8, 1.25]
classes = [
    { name = "background", values = [1] },
    { name = "building", values = [2] },
    { name = "road", values = [3] },
    { name = "water", values = [4] },
    { name = "barren", values = [5] },
    { name = "forest", values = [6] },
    { name = "agriculture", values = [7] },
]
[ignore]
name = "no data"
values = [0]
"""
HEAD, REST = TINY[: TINY.index("[tasks.land]")], TINY[TINY.index("[solver]") :]


def raster(path: Path, bands: np.ndarray, **options) -> None:
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    profile |= {"crs": "EPSG:32632", "transform": from_origin(600000, 5300000, 2, 2)}
    with rasterio.open(path, "w", **(profile | {"dtype": bands.dtype} | options)) as file:
        file.write(bands)


def patches(rng: np.random.Generator, classes: int, side: int) -> np.ndarray:
    return np.kron(rng.integers(0, classes, (side // 12, side // 12)), np.ones((12, 12), int))


@pytest.fixture
def call(tmp_path, monkeypatch, run_tool):
    """Return a function that calls a tool in the folder of the data, and must end well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(name: str, *arguments: object) -> str:
        done = run_tool(name, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def fields(tmp_path):
    """Scenes of four bands of 16 bits with masks of two kinds, and an experiment of two tasks."""
    lines = ",\n".join(f'    {{ name = "{name}", colour = {list(rgb)} }}' for name, rgb in CROPS.items())
    (tmp_path / "fields.toml").write_text(FIELDS.replace("{classes}", lines))
    (tmp_path / "hedges.toml").write_text(HEDGES)
    tasks = '[tasks.crops]\ndataset = "fields.toml"\nsource = "crops_lmdb"\n'
    tasks += '[tasks.hedges]\ndataset = "hedges.toml"\nsource = "hedges_lmdb"\n'
    head = HEAD.replace(
        "mean = [103.94, 116.78, 123.68]", 'bands = ["nir", "red", "green"]\nmean = [90, 80, 70]'
    )
    (tmp_path / "valley.toml").write_text(head + tasks + REST)
    rng = np.random.default_rng(3)
    (tmp_path / "scenes").mkdir()
    for number in range(6):
        crops = patches(rng, len(CROPS), 96)
        hedge = np.zeros(crops.shape, bool)
        hedge[:, 40:46] = hedge[20:24] = True
        image = np.stack([400 + 300 * crops + 150 * k * hedge for k in range(4)])
        image = (image + rng.integers(0, 60, image.shape)).astype(np.uint16)
        raster(tmp_path / f"scenes/v{number}_img.tif", image, photometric="MINISBLACK")
        colours = np.array(list(CROPS.values()), np.uint8)[crops]
        colours[:4, :4] = 0
        cv2.imwrite(str(tmp_path / f"scenes/v{number}_crops.png"), colours[..., ::-1])
        raster(
            tmp_path / f"scenes/v{number}_hedge.tif",
            np.where(hedge, 20 + number % 2, 10)[None].astype(np.uint8),
        )
    return tmp_path


def test_nine_classes_and_four_bands_of_16_bits_from_verify_to_report(fields, call, run_tool):
    for name in ("fields", "hedges"):
        said = call("verify_data.py", f"{name}.toml", "scenes", "--workers", 1)
        assert "6 sound scenes of" in said
        assert "usable" in said
    for task in ("crops", "hedges"):
        call("build_lmdb.py", "valley.toml", task, "--images", "scenes", "--hold-out", 3, "--workers", 1)
    call("inspect_lmdb.py", "crops_lmdb", "--sheet", "sheet.png", "--crops", 2)
    manifest = json.loads((fields / "crops_lmdb" / "manifest.json").read_text())
    assert manifest["bands"] == ["nir", "red", "green"]
    assert set(manifest["pixels"]) == {*CROPS, "ignored"}
    call("train.py", "valley.toml", "--cpu")
    run = fields / "runs" / "valley"
    card = json.loads((run / "weights.json").read_text())
    assert (list(card["tasks"]), card["bands"]) == (["crops", "hedges"], ["nir", "red", "green"])
    # The first task is meant; maps of GeoTIFFs are class rasters with names and colours.
    assert "2 crops maps" in call("predict.py", "--run", run, "--out", "maps", "--hold-out", 3, "scenes")
    with rasterio.open(fields / "maps" / "v2_mask.tif") as file:
        assert file.tags()["classes"] == ", ".join(f"{k} {name}" for k, name in enumerate(CROPS))
        assert [file.colormap(1)[k][:3] for k in range(9)] == list(CROPS.values())
        assert (file.crs.to_epsg(), file.read(1).max() < 9) == (32632, True)
    # The stretch comes with the weights; another one is refused.
    settings = json.loads((fields / "maps" / "manifests" / "v2.json").read_text())["settings"]
    assert settings["stretch"] == [400, 3200]
    done = run_tool("predict.py", "--run", run, "--out", "other", "--stretch", 0, 5000, "scenes")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--stretch: is 0 5000, the weights have learnt with 400 3200; leave it out" in done.stderr
    assert not (fields / "other").exists()
    call("predict.py", "--run", run, "--task", "hedges", "--out", "hedge_maps", "--hold-out", 3, "scenes")
    scored = ("evaluate.py", "--truth", "scenes", "--hold-out", 3)
    table = call(*scored, "--pred", "maps", "--json", "crops.json", "--figure", "crops.png")
    assert re.search(r"2 scenes, [\d,]+ scored pixels, Fields of one valley", table)
    assert all(name in table for name in CROPS)
    assert "Hedges" in call(*scored, "--pred", "hedge_maps")
    shown = ("--images", "scenes", "--truth", "scenes", "--pred", "maps")
    call("figure.py", "compare", *shown, "--out", "figure.png", "--rows", 2)
    model = ("--deploy", run / "deploy.prototxt", "--weights", run / "weights.caffemodel")
    call("figure.py", "features", *model, "--images", "scenes", "--out", "features.png", "--tile", 65)
    call("export_onnx.py", *model, "--out", "net.onnx", "--check", "--tile", 65)
    call("report.py", run, "--scores", "crops.json", *shown, "--scenes", 2)
    page = (run / "report.html").read_text()
    assert "Fields of one valley" in page
    assert "#d6be3c" in page  # wheat
    assert all(f"</i>{name}<" in page for name in CROPS)


def test_maps_truth_databases_and_weights_of_other_classes_are_refused_by_name(fields, call, run_tool):
    for task in ("crops", "hedges"):
        call("build_lmdb.py", "valley.toml", task, "--images", "scenes", "--workers", 1)
    swapped = (fields / "valley.toml").read_text().replace('"hedges_lmdb"', '"crops_lmdb"')
    (fields / "swapped.toml").write_text(swapped)
    done = run_tool("train.py", "swapped.toml", "--cpu")
    assert "crops_lmdb: has 9 classes (wheat, " in done.stderr
    assert "not 2 (open, hedge) as hedges has; give a database of hedges" in done.stderr
    text = (fields / "fields.toml").read_text()
    for old, new, words in (
        ("tolerance = 12", "tolerance = 9", "tolerance = 12, now it is 9"),
        ("stretch = [400, 3200]", "stretch = [0, 3200]", "stretch = [400, 3200], now it is [0, 3200]"),
        ("stretch = [400, 3200]", "", "stretch = [400, 3200], now it has none"),
        ("[70, 90, 20]", "[71, 90, 20]", "classes.orchard.colour = [70, 90, 20], now it is [71, 90, 20]"),
    ):
        (fields / "fields.toml").write_text(text.replace(old, new))
        done = run_tool("train.py", "valley.toml", "--cpu")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"crops_lmdb: was built when fields had {words}; " in done.stderr
    (fields / "fields.toml").rename(fields / "moved.toml")
    done = run_tool("train.py", "valley.toml", "--cpu")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "fields.toml: cannot be read" in done.stderr
    done = run_tool("build_lmdb.py", "valley.toml", "roads", "--images", "scenes")
    assert done.returncode == 2


def test_index_masks_in_folders_of_their_own_from_verify_to_report(tmp_path, call):
    (tmp_path / "loveda.toml").write_text(LOVEDA)
    tasks = '[tasks.cover]\ndataset = "loveda.toml"\nsource = "cover_lmdb"\n'
    (tmp_path / "one.toml").write_text(HEAD + tasks + REST)
    rng = np.random.default_rng(5)
    for folder in ("images_png", "masks_png"):
        (tmp_path / "Train" / folder).mkdir(parents=True)
    for number in range(5):
        labels = patches(rng, 8, 96).astype(np.uint8)  # 0: no data
        image = labels[..., None] * 30 + rng.integers(0, 20, (*labels.shape, 3))
        cv2.imwrite(str(tmp_path / f"Train/images_png/{number}.png"), image.astype(np.uint8))
        cv2.imwrite(str(tmp_path / f"Train/masks_png/{number}.png"), labels)
    assert "5 sound scenes" in call("verify_data.py", "loveda.toml", "Train", "--workers", 1)
    call("split_data.py", "loveda.toml", "Train", "--train", 3, "--out", "split.json")
    call("build_lmdb.py", "one.toml", "cover", "--images", "Train", "--split", "split.json", "--workers", 1)
    manifest = json.loads((tmp_path / "cover_lmdb" / "manifest.json").read_text())
    assert manifest["pixels"]["ignored"] > 0
    call("train.py", "one.toml", "--cpu", "--set", "solver.batch_size=2")
    run = tmp_path / "runs" / "one"
    call("predict.py", "--run", run, "--out", "maps", "--split", "split.json", "Train")
    assert len(list((tmp_path / "maps").glob("*_mask.png"))) == 2
    table = call(
        "evaluate.py", "--truth", "Train", "--pred", "maps", "--split", "split.json", "--json", "scores.json"
    )
    assert "Index masks in folders of their own" in table
    shown = ("--images", "Train", "--truth", "Train", "--pred", "maps")
    call("figure.py", "compare", *shown, "--out", "figure.png", "--rows", 1)
    call("report.py", run, "--scores", "scores.json", *shown, "--scenes", 1)
    assert "</i>building<" in (run / "report.html").read_text()
