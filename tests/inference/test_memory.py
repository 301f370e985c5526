"""Memory stays where it is when scenes grow, and is asked for before Caffe takes it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from common.errors import NetError
from inference import memory
from inference.caffe_net import CaffeNet
from inference.deploy import read_deploy
from prototxt_gen.emit import net_text
from prototxt_gen.experiment import read_experiment
from prototxt_gen.models import DEPLOY, build
from tests.inference.pixel_net import make_pixel_net
from tests.prototxt_gen.random_net import folded

ROOT = Path(__file__).parents[2]
# Maps a scene with a net that costs nothing; prints the process's highest memory in MB before and after.
MAP = """
import re, sys
import numpy as np
from pathlib import Path
from data_prep.geotiff import SETTINGS
from inference.scene_files import ScenePath
from inference.scene_predictor import ScenePredictor
from inference.predictor import NormalizedNet, Predictor
from data_prep.read_options import ReadOptions
from inference.loading import TrainedTask
from tests.datasets import LAND
from inference.scene_maps import OutputOptions
from common.staging import staging_directory

class Net:
    side = 129
    def __call__(self, tiles):
        level = tiles[:, :1] / 255
        return np.concatenate([level, (1 - level) / 2, (1 - level) / 2, *[level * 0] * 3], axis=1)

def peak():  # ru_maxrss would begin with the parent's
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

SETTINGS["GDAL_CACHEMAX"] = 4 << 20  # so that it is full in a small scene too
path, out = Path(sys.argv[1]), Path(sys.argv[2])
outputs = OutputOptions(probabilities=True, confidence=True)
with staging_directory(out) as work:
    predictor = Predictor([NormalizedNet(Net(), (0, 0, 0), 1.0)], scales=(0.75, 1.25))
    before = peak()
    trained = TrainedTask("land", LAND, ("blue", "green", "red"), (0, 0, 0), 1.0)
    ScenePredictor(predictor, trained, out, work, outputs, ReadOptions(), {}, print)(ScenePath("a", path))
print(before, peak())
"""


def peak_of(tmp_path: Path, height: int, width: int) -> float:
    """Return by how many MB mapping a GeoTIFF raises the highest memory of a process."""
    path = tmp_path / f"{height}.tif"
    profile = {"driver": "GTiff", "count": 3, "height": height, "width": width, "dtype": "uint8"}
    profile |= {"tiled": True, "crs": "EPSG:32633", "compress": "deflate", "nodata": 0}
    rows = np.random.default_rng(0).integers(1, 255, (3, 256, width), np.uint8)
    with rasterio.open(path, "w", **profile) as file:
        for top in range(0, height, 256):
            part = rows[:, : min(256, height - top)]
            file.write(part, window=Window(0, top, width, part.shape[1]))
    command = [sys.executable, "-c", MAP, path, tmp_path / f"maps{height}"]
    done = subprocess.run(map(str, command), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = map(float, done.stdout.split())
    return after - before


def test_memory_does_not_grow_with_the_height_of_a_scene(tmp_path):
    low, high = peak_of(tmp_path, 400, 1000), peak_of(tmp_path, 4400, 1000)
    # The image has 12 MB more, its maps 32 MB, its probabilities as computed 96 MB.
    assert high < low + 25
    assert high < 100


@pytest.mark.caffe
@pytest.mark.onednn
@pytest.mark.parametrize("form", ["plain", "folded"])
def test_what_forward_passes_take_is_predicted(tiny, tmp_path, form):
    exp = read_experiment(tiny)
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(str(folded(exp)[0]) if form == "folded" else net_text(build(exp, DEPLOY), ["a test"]))
    script = """
import re, sys
from inference.memory import forward_bytes
from training.pycaffe import import_caffe
caffe = import_caffe()
net = caffe.Net(sys.argv[1], caffe.TEST)
net.blobs["data"].reshape(2, 3, 1281, 1281)
net.reshape()
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
planned, _ = net.plan_memory()
before = peak()
net.forward()
print(forward_bytes(net, planned), peak() - before)
"""
    command = [sys.executable, "-c", script, deploy]
    done = subprocess.run(map(str, command), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    predicted, taken = map(int, done.stdout.split())
    assert taken > 200e6
    assert predicted == pytest.approx(taken, rel=0.12)


@pytest.mark.caffe
def test_a_net_that_does_not_fit_is_refused_with_both_numbers(tmp_path, monkeypatch):
    deploy, weights, _ = make_pixel_net(tmp_path)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 20)
    with pytest.raises(
        NetError, match=r"deploy\.prototxt: takes at least 0\.\d GiB .*, 0\.0 GiB are free; .*--tile than 513"
    ):
        CaffeNet(read_deploy(deploy), weights, "land", side=513)


def test_the_room_is_the_least_of_machine_cgroup_and_limit(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_bytes() == 2100000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes() > 2100000
