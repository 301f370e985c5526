"""The command's answers: a database and a summary, or one line, exit code 2 and nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

from tests.conftest import ROOT, refused

TOOL = Path(__file__).parents[2] / "tools" / "build_lmdb.py"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        mask = np.zeros((60, 70, 3), np.uint8)
        mask[:30] = (0, 255, 255)  # BGR: agriculture
        mask[30:] = (255, 0, 0)  # BGR: water
        cv2.imwrite(str(folder / f"{number}_sat.jpg"), rng.integers(0, 256, (60, 70, 3), np.uint8))
        cv2.imwrite(str(folder / f"{number}_mask.png"), mask)
    return folder


def build(folder: Path, *options: object) -> subprocess.CompletedProcess:
    """Run the command with sensible options, of which later ones win."""
    command = [
        sys.executable,
        TOOL,
        "dfcnet_demo",
        "land",
        "--images",
        folder / "images",
        "--out",
        folder / "db",
    ]
    command += ["--set", "input.crop=33", "--margin", 8, *options]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def manifest(folder: Path) -> dict:
    return json.loads((folder / "db" / "manifest.json").read_text())


@pytest.mark.caffe
def test_it_builds_and_tells_what_it_built(tmp_path, images):
    done = build(tmp_path, "--variants", 4, "--seed", 7)
    assert done.returncode == 0, done.stderr
    assert "20 records of 5 scenes, 41x41 pixels" in done.stdout
    assert "agriculture" in done.stdout
    assert manifest(tmp_path)["seed"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db", "images"]


@pytest.mark.caffe
def test_the_parts_of_a_hold_out_share_no_scene(tmp_path, images):
    ids = []
    for part in ("train", "test"):
        assert build(tmp_path, "--hold-out", 2, "--part", part, "--overwrite").returncode == 0
        ids.append([entry["id"] for entry in manifest(tmp_path)["inputs"]])
    assert ids == [["0", "2", "4"], ["1", "3"]]


@pytest.mark.caffe
def test_several_folders_go_into_one_database(tmp_path, images):
    other = tmp_path / "other"
    other.mkdir()
    for ending in ("_sat.jpg", "_mask.png"):
        (images / f"4{ending}").rename(other / f"4{ending}")
    assert build(tmp_path, "--images", images, other).returncode == 0
    assert [entry["id"] for entry in manifest(tmp_path)["inputs"]] == list("01234")


def truncate(folder):
    path = folder / "3_sat.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_mask(folder):
    (folder / "3_mask.png").unlink()


def shrink_mask(folder):
    cv2.imwrite(str(folder / "3_mask.png"), np.zeros((60, 69, 3), np.uint8))


def foreign_colour(folder):
    cv2.imwrite(str(folder / "3_mask.png"), np.full((60, 70, 3), (0, 128, 255), np.uint8))


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def road_masks(folder):
    for number in range(5):
        mask = np.zeros((60, 70), np.uint8)
        mask[20:25] = 255
        cv2.imwrite(str(folder / f"{number}_mask.png"), mask)


BAD_IMAGES = [
    (
        road_masks,
        "0_mask.png",
        "shows one class at most as all 5 masks do: 92 % unknown, else barren",
        "check that these are masks",
    ),
    pytest.param(truncate, "3_sat.jpg", "is cut off", "fetch or export", marks=pytest.mark.caffe),
    (drop_mask, "3_sat.jpg", "has no mask 3_mask.png", "add the mask"),
    pytest.param(shrink_mask, "3_mask.png", "is 69x60", "use the mask", marks=pytest.mark.caffe),
    pytest.param(
        foreign_colour, "3_mask.png", "RGB (255, 128, 0)", "add it to the data set", marks=pytest.mark.caffe
    ),
    (empty, "images", "among 0 files", "give a folder"),
]


@pytest.mark.parametrize(("harm", "file", "fact", "remedy"), BAD_IMAGES)
def test_bad_images_end_in_one_line(tmp_path, images, harm, file, fact, remedy):
    harm(images)
    done = build(tmp_path)
    assert done.stdout.count("\n") <= 1  # the estimated size, where all names are in order
    done.stdout = ""
    refused(done, file, fact, remedy)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "input.crop=64"), ("input: crop 64 is not 32k+1", "take 33 or 65")),
        (("--margin", -3), ("--margin", "is -3", "0 or more")),
        (("--variants", 0), ("--variants", "is 0", "1 or more")),
        (("--hold-out", 1), ("--hold-out", "is 1", "2 or more")),
        (("--hold-out", 9, "--part", "test"), ("--hold-out", "9 leaves no test scene of 5", "smaller")),
        (("--images", "nowhere"), ("nowhere", "is not a folder", "give a folder")),
    ],
)
def test_bad_options_end_in_one_line(tmp_path, images, options, words):
    refused(build(tmp_path, *options), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_the_place_is_the_experiments_and_must_be_known(tmp_path, images, run_tool):
    """The test part's is its validation; a task that is not there is named."""
    given = ("--images", images, "--hold-out", 2, "--part", "test")
    words = ("dfcnet_demo: has no validation for task land", "give --out")
    refused(run_tool("build_lmdb.py", "dfcnet_demo", "land", *given, cwd=tmp_path), *words)
    words = ("dfcnet_demo: has no task sea", "choose from land, road")
    refused(run_tool("build_lmdb.py", "dfcnet_demo", "sea", *given, cwd=tmp_path), *words)
    refused(run_tool("build_lmdb.py", "land", *given, cwd=tmp_path), "experiment: is missing", "name one")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_an_existing_output_is_kept_without_overwrite(tmp_path, images):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "mine.txt").write_text("keep")
    refused(build(tmp_path), str(tmp_path / "db"), "exists already", "--overwrite")
    assert [path.name for path in (tmp_path / "db").iterdir()] == ["mine.txt"]


def test_help_is_readable_without_caffe():
    done = subprocess.run([sys.executable, "-S", TOOL, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--variants" in done.stdout


@pytest.mark.caffe
@pytest.mark.real_data
def test_real_road_folders_of_two_sources_build(tmp_path):
    if "DFCNET_DATA" not in os.environ:
        pytest.skip("DFCNET_DATA is not set")
    data = Path(os.environ["DFCNET_DATA"])
    command = [sys.executable, TOOL, "dfcnet_demo", "road", "--set", "input.crop=257"]
    command += ["--hold-out", 5, "--part", "test"]
    command += ["--images", data / "deepglobe/road/train", data / "massachusetts/road_512/train"]
    command += ["--out", tmp_path / "db"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert manifest(tmp_path)["records"] == 104 // 5
    assert 0.005 < manifest(tmp_path)["shares"]["road"] < 0.15


def own_set(folder: Path, values: dict[str, list[int]]) -> list[object]:
    """Write a data set of DeepGlobe's classes with values, and return the options that choose it."""
    classes = "\n".join(f'    {{ name = "{name}", values = {its} }},' for name, its in values.items())
    text = (ROOT / "datasets" / "deepglobe_land.toml").read_text()
    (folder / "own.toml").write_text(f"{text[: text.index('classes =')]}classes = [\n{classes}\n]\n")
    return ["--set", f"tasks.land.dataset='{folder}/own.toml'"]


@pytest.mark.caffe
def test_geotiffs_of_own_numbers_build_the_same_anywhere(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "width": 90, "height": 80, "dtype": "uint8", "tiled": True}
    profile |= {"blockxsize": 16, "blockysize": 16}
    for id in "ab":
        with rasterio.open(folder / f"{id}_sat.tif", "w", count=3, **profile) as file:
            file.write(rng.integers(0, 256, (3, 80, 90), np.uint8))
        with rasterio.open(folder / f"{id}_mask.tif", "w", count=1, nodata=0, **profile) as file:
            file.write(rng.choice(np.array([0, 7, 9], np.uint8), (1, 80, 90)))
    own = own_set(tmp_path, {"forest": [7], "water": [9]})
    done = build(tmp_path, *own, "--variants", 3, "--workers", 2)
    assert (done.returncode, done.stderr) == (0, "")
    shares = manifest(tmp_path)["shares"]
    assert {name for name, share in shares.items() if share} == {"forest", "water", "ignored"}
    assert [entry["values"] for entry in manifest(tmp_path)["dataset"]["classes"]] == [[7], [9]]
    own = own_set(tmp_path, {"forest": [7], "water": [8]})
    done = build(tmp_path, *own, "--overwrite")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "a_mask.tif: holds 9" in done.stderr


@pytest.mark.caffe
def test_how_geotiffs_are_read_is_chosen_and_stands_in_the_manifest(tmp_path, run_tool):
    """Five bands of 16 bits: a verified set, and a database whose settings tell all that it depends on."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(3)
    profile = {"driver": "GTiff", "width": 50, "height": 50}
    with rasterio.open(folder / "a_sat.tif", "w", count=5, dtype="uint16", **profile) as file:
        file.write(rng.integers(0, 2000, (5, 50, 50)).astype(np.uint16))
        file.scales = (0.0001,) * 5
    with rasterio.open(folder / "a_mask.tif", "w", count=1, dtype="int16", **profile) as file:
        file.write(np.full((1, 50, 50), -1, np.int16))
    own = own_set(tmp_path, {"forest": [7], "water": [-1]})
    done = build(tmp_path, *own)
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("a_sat.tif", "has 5 bands", "--bands 1 2 3"))
    how = ("--bands", 5, 3, 1)
    own_file = tmp_path / "own.toml"
    own_file.write_text("stretch = [100, 1900]\n" + own_file.read_text())
    done = run_tool("verify_data.py", tmp_path / "own.toml", folder, *how)
    assert done.returncode == 0
    note = "values as stored, without the file's scale 0.0001 and offset 0"
    assert f"1 image, as {folder}/a_sat.tif: {note}\n" in done.stdout
    done = build(tmp_path, *own, *how)
    assert (done.returncode, done.stderr) == (0, "")
    written = manifest(tmp_path)
    assert (written["band_numbers"], written["dataset"]["stretch"]) == ([5, 3, 1], [100, 1900])
    [scene] = written["inputs"]
    assert scene["bands"] == {"blue": 1, "green": 3, "red": 5}
    assert scene["stretch"] == {band: [100, 1900] for band in scene["bands"]}
    assert scene["note"] == note
    of = f"1 of 1 image, as {folder}/a_sat.tif: "
    assert f"{of}{scene['note']}\n{of}stretched to 0-255, as the manifest says\n" in done.stdout


@pytest.mark.caffe
def test_bands_of_a_picture_are_refused(tmp_path, images):
    done = build(tmp_path, "--bands", 1, 2, 3)
    assert done.returncode == 2
    assert "--bands: given for" in done.stderr
    assert "0_sat.jpg, which is not a TIFF; leave it out" in done.stderr


@pytest.mark.caffe
def test_a_list_of_windows_leaves_scenes_out_and_ids_of_none_are_named(tmp_path, images):
    bad = tmp_path / "bad.txt"
    bad.write_bytes("\ufeff1\r\n3_sat.jpg\r\n77\r\n".encode())
    (images / "5_sat.webp").touch()
    done = build(tmp_path, "--leave-out", bad)
    assert done.returncode == 0
    assert [entry["id"] for entry in manifest(tmp_path)["inputs"]] == ["0", "2", "4"]
    warnings = manifest(tmp_path)["split"]["warnings"]
    assert done.stderr.splitlines() == [f"build_lmdb.py: warning: {line}" for line in warnings]
    assert [line.split(", as ")[0] for line in warnings] == ["1 file left out", f"{bad}: 1 id of no scene"]


@pytest.mark.caffe
def test_scenes_without_a_labelled_pixel_make_no_database(tmp_path):
    """In rasters of numbers, where a mask of one class is taken."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for name, bands in (("sat", rng.integers(0, 256, (3, 50, 50))), ("mask", np.zeros((1, 50, 50)))):
        profile = {"driver": "GTiff", "width": 50, "height": 50, "count": len(bands), "dtype": "uint8"}
        profile["nodata"] = 0 if name == "mask" else None
        with rasterio.open(tmp_path / "images" / f"1_{name}.tif", "w", **profile) as file:
            file.write(bands.astype(np.uint8))
    done = build(tmp_path, *own_set(tmp_path, {"a": [1], "b": [2]}))
    assert done.returncode == 2
    assert done.stderr == (
        "build_lmdb.py: the scenes: have no pixel of a class in 1 record; check their masks with "
        "dfcnet verify-data\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "own.toml"]
