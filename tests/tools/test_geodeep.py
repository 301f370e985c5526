"""`export_onnx.py --for deepness`: GeoDeep, where it is installed, maps a scene as predict.py does."""

import numpy as np
import onnx
import pytest
import rasterio
from rasterio.transform import from_origin
from scipy.ndimage import maximum_filter, minimum_filter

from data_prep.synthetic.noise import smooth
from prototxt_gen.model_card import ModelCard, write_card
from tests.conftest import refused
from tests.datasets import DATASETS
from tests.inference.pixel_net import make_pixel_net

pytestmark = [
    pytest.mark.caffe,
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
TILE, OVERLAP = 65, 20  # pixels, percent
SHARED = TILE * OVERLAP // 100
SIDE = TILE + 3 * (TILE - SHARED)  # so that both programs lay their tiles alike
APART = 4  # pixels from a border of classes: GeoDeep's median filter has a radius of 2


@pytest.fixture
def net(tmp_path):
    deploy, weights, _ = make_pixel_net(tmp_path)
    card = {"experiment": "pixel", "model": "pixel", "iteration": 0, "crop": 33, "tasks": DATASETS}
    write_card(weights, ModelCard(mean=(100.0, 110.0, 120.0), scale=0.02, **card))
    return "--deploy", deploy, "--weights", weights


def test_geodeep_maps_as_predict_does(net, tmp_path, run_tool):
    geodeep = pytest.importorskip("geodeep", reason="GeoDeep is another program; pip install geodeep")
    random = np.random.default_rng(2)
    bands = np.stack([np.clip(128 + 90 * smooth(random, SIDE, 40), 0, 255) for _ in range(3)])
    profile = {"driver": "GTiff", "count": 3, "height": SIDE, "width": SIDE, "photometric": "RGB"}
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}
    with rasterio.open(tmp_path / "a.tif", "w", dtype="uint8", **profile, **place) as file:
        file.write(bands.astype(np.uint8))
    model = tmp_path / "net.onnx"
    options = ("--for", "deepness", "--tile", TILE, "--resolution", 50, "--overlap", OVERLAP)
    done = run_tool("export_onnx.py", *net, "--out", model, *options)
    assert (done.returncode, done.stderr) == (0, "")
    tiles = ("--tile", TILE, "--overlap", SHARED)
    done = run_tool("predict.py", *net, *tiles, "--out", tmp_path / "maps", tmp_path / "a.tif")
    assert (done.returncode, done.stderr) == (0, "")
    with rasterio.open(tmp_path / "maps" / "a_mask.tif") as file:
        ours = file.read(1)
    theirs = geodeep.segment(str(tmp_path / "a.tif"), str(model), output_type="raw")
    size = 2 * APART + 1
    inside = maximum_filter(ours, size) == minimum_filter(ours, size)
    assert len(np.unique(ours[inside])) > 1
    assert inside.mean() > 0.5
    assert (theirs[inside] == ours[inside]).mean() >= 0.99


def test_the_command_needs_a_resolution_a_card_and_a_tile_that_fits(net, tmp_path, run_tool):
    out = ("--out", tmp_path / "net.onnx", "--for", "deepness")
    done = run_tool("export_onnx.py", *net, *out)
    assert (done.returncode, "--for deepness needs --resolution CM" in done.stderr) == (2, True)
    out += ("--resolution", 50)
    refused(run_tool("export_onnx.py", *net, *out, "--tile", 512), "tile side 512 is not 32k+1")
    refused(run_tool("export_onnx.py", *net, *out, "--overlap", 99), "--overlap: is 99; give 0 to 80")
    assert run_tool("export_onnx.py", *net, *out, "--task", "road").returncode == 0
    model = onnx.load(str(out[1]))
    assert [value.name for value in model.graph.output] == ["road_prob"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]] == [3, 513, 513]
    net[3].with_suffix(".json").unlink()
    refused(run_tool("export_onnx.py", *net, *out, "--overwrite"), "no model card net.json, which says")
