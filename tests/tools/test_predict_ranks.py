"""Prediction over several ranks, and through kills: the same maps, each whole or not there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

from tests.conftest import refused
from tests.inference.pixel_net import make_pixel_net

pytestmark = pytest.mark.caffe
ROOT = Path(__file__).parents[2]
MPIRUN = Path(sys.executable).with_name("mpirun")
ENVIRONMENT = os.environ | {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@pytest.fixture
def work(tmp_path):
    """Five scenes of different sizes and a net; return (folder, the command without --out)."""
    deploy, weights, _ = make_pixel_net(tmp_path)
    (tmp_path / "scenes").mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (60 + 40 * number, 90, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "scenes" / f"{number}_sat.png"), pixels)
    tool = ROOT / "tools" / "predict.py"
    words = [sys.executable, tool, "--deploy", deploy, "--weights", weights, tmp_path / "scenes"]
    words += ["--dataset", "deepglobe_land"]
    return tmp_path, [*map(str, words)]


def run(*command: object) -> subprocess.CompletedProcess:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=120)


def maps(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_one_gpu_for_several_ranks_is_refused_in_a_line(work):
    folder, command = work
    done = run(MPIRUN, "--oversubscribe", "-n", 2, *command, "--out", folder / "maps", "--gpu", 1)
    assert done.returncode == 2
    assert done.stderr.count("--gpu: gives GPU 1 to each of 2 processes; ") == 1
    assert "Traceback" not in done.stderr


def test_ranks_share_the_scenes_and_give_the_maps_of_one_process(work):
    folder, command = work
    (folder / "scenes" / "2_sat.png").write_bytes(b"broken")
    alone = run(*command, "--out", folder / "alone")
    shared = run(MPIRUN, "--oversubscribe", "-n", 3, *command, "--out", folder / "shared")
    assert alone.returncode == shared.returncode == 2
    assert maps(folder / "shared") == maps(folder / "alone")
    assert len(maps(folder / "shared")) == 4
    for done in (alone, shared):
        assert done.stderr.count("2_sat.png: starts with") == 1
        assert done.stderr.count("warning") == 1  # no card
        assert done.stdout.count("4 land maps in ") == 1
    again = run(MPIRUN, "--oversubscribe", "-n", 2, *command, "--out", folder / "alone")
    assert "0 land maps" in again.stdout
    assert "; 4 finished before; 1 failed" in again.stdout


@pytest.mark.parametrize("ranks", [1, 2])
def test_where_no_scene_can_be_mapped_no_new_folder_is_left(work, ranks):
    folder, command = work
    for path in (folder / "scenes").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    done = run(MPIRUN, "--oversubscribe", "-n", ranks, *command, "--out", folder / "new" / "maps")
    assert done.returncode == 2
    assert done.stderr.count("is cut off after") == 5
    assert not (folder / "new").exists()


def test_a_mistake_ends_all_ranks_with_one_line(work):
    folder, command = work
    done = run(MPIRUN, "--oversubscribe", "-n", 2, *command, "--out", folder / "maps", "--tile", 64)
    assert done.returncode == 2
    assert done.stderr.count("tile side 64 is not 32k+1") == 1
    assert not (folder / "maps").exists()


def test_kills_leave_whole_maps_only_and_the_next_call_goes_on(work):
    folder, command = work
    (scenes := folder / "scenes").mkdir(exist_ok=True)
    for number in range(5, 9):
        pixels = np.random.default_rng(number).integers(0, 256, (3, 700, 700), np.uint8)
        profile = {"driver": "GTiff", "count": 3, "height": 700, "width": 700, "dtype": "uint8"}
        with rasterio.open(scenes / f"{number}_sat.tif", "w", crs="EPSG:4326", **profile) as file:
            file.write(pixels)
    whole = run(*command, "--out", folder / "whole", "--flip")
    assert whole.returncode == 0, whole.stderr
    kills = 0
    for attempt in range(12):
        out = folder / "maps"
        words = [*command, "--out", out, "--flip"]
        process = subprocess.Popen(
            [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
        done = len(list(out.glob("*_mask.*"))) if out.exists() else 0
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if out.exists() and (len(list(out.glob("*_mask.*"))) > done or list(out.glob(".unf*/*.tif"))):
                time.sleep(0.01 * attempt)
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        process.communicate()
        for name, content in maps(out).items():
            assert content == maps(folder / "whole")[name], name
        if process.returncode == 0:
            break
    assert kills >= 2
    last = run(*command, "--out", folder / "maps", "--flip")
    assert last.returncode == 0, last.stderr
    assert maps(folder / "maps") == maps(folder / "whole")
    assert not list((folder / "maps").glob(".unfinished*"))


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD", "PMI"])
def test_the_launcher_of_another_mpi_is_refused(work, name):
    """Each process would map all scenes."""
    folder, command = work
    launcher = {f"{name}_RANK": "0", f"{name}_SIZE": "3"}
    done = run(
        "env", *(f"{key}={value}" for key, value in launcher.items()), *command, "--out", folder / "maps"
    )
    refused(done, *launcher, "process 0 of 3", "process 0 of 1")
    assert not (folder / "maps").exists()
