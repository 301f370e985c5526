"""The command writes maps that equal numpy's, or says in one line what to fix."""

import cv2
import numpy as np
import pytest
import rasterio

from data_prep.splits import make_split, write_split
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.model_card import ModelCard, read_card, write_card
from tests.conftest import refused
from tests.datasets import DATASETS, LAND, read_map
from tests.inference.pixel_net import by_hand, make_pixel_net, write_deploy

pytestmark = pytest.mark.caffe

MEAN, SCALE = (100.0, 110.0, 120.0), 0.02


@pytest.fixture
def work(tmp_path):
    """Two scenes, a net, its weights and card; return (folder, arguments, parameters)."""
    deploy, weights, parameters = make_pixel_net(tmp_path)
    card = {"experiment": "pixel", "model": "pixel", "iteration": 0, "crop": 33, "tasks": DATASETS}
    write_card(weights, ModelCard(mean=MEAN, scale=SCALE, **card))
    for id, size in (("7", (20, 31)), ("8", (70, 100))):
        pixels = np.random.default_rng(int(id)).integers(0, 256, (*size, 3), np.uint8)
        (tmp_path / "scenes").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "scenes" / f"{id}_sat.png"), pixels)
    arguments = ["--deploy", deploy, "--weights", weights, "--out", tmp_path / "maps", tmp_path / "scenes"]
    return tmp_path, arguments, parameters


def names(folder) -> list[str]:
    """Return the names of the maps; nothing else may be there but the folder of records."""
    return sorted(path.name for path in (folder / "maps").iterdir() if path.name != "manifests")


@pytest.mark.parametrize("task", ["land", "road"])
def test_the_maps_equal_numpys(work, run_tool, task):
    folder, arguments, parameters = work
    done = run_tool("predict.py", *arguments, "--task", task, "--overlap", 5)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"2 {task} maps in {folder / 'maps'}, " in done.stdout
    assert "s a scene" in done.stdout
    for id in ("7", "8"):
        image = cv2.imread(str(folder / "scenes" / f"{id}_sat.png"))
        expected = by_hand(image, parameters[f"{task}_score"], MEAN, SCALE)
        ordered = np.sort(expected, axis=-1)
        sure = ordered[..., -1] - ordered[..., -2] > 1e-5
        labels = read_map(folder / "maps" / f"{id}_mask.png", DATASETS[task])
        np.testing.assert_array_equal(labels[sure], expected.argmax(axis=-1)[sure])
    assert names(folder) == ["7_mask.png", "8_mask.png"]
    assert sorted(path.name for path in (folder / "maps" / "manifests").iterdir()) == ["7.json", "8.json"]


def test_a_gpu_that_is_not_there_is_refused(work, run_tool):
    from training.pycaffe import import_caffe

    cuda = import_caffe().has_nccl()
    done = run_tool("predict.py", *work[1], "--gpu", 99)
    fact = "asks for GPU 99" if cuda else "this Caffe was built for the CPU alone"
    refused(done, f"--gpu: {fact}", "leave it out")
    assert not list((work[0] / "maps").glob("*_mask.png"))
    done = run_tool("predict.py", *work[1], "--gpu", 0, "--backend", "onnxruntime")
    refused(done, "--backend onnxruntime computes on the CPU", "--backend caffe")
    for text in ("-1", "cuda:0", "0-7"):
        done = run_tool("predict.py", *work[1], f"--gpu={text}")
        assert done.returncode == 2
        assert f"{text!r} is not a GPU's number" in done.stderr


def test_without_a_card_it_warns_what_it_assumes(work, run_tool):
    folder, arguments, _ = work
    (folder / "net.json").unlink()
    refused(run_tool("predict.py", *arguments), "net.caffemodel: has no model card", "--dataset")
    done = run_tool("predict.py", *arguments, "--dataset", "deepglobe_land")
    assert done.returncode == 0, done.stderr
    assert "warning" in done.stderr
    assert "103.94 116.78 123.68" in done.stderr
    assert "0.017" in done.stderr


def test_only_the_held_out_scenes_where_asked(work, run_tool):
    folder, arguments, _ = work
    assert run_tool("predict.py", *arguments, "--hold-out", 2).returncode == 0
    assert names(folder) == ["8_mask.png"]


UNREADABLE = "/proc/self/mem"  # a regular file that opens, and whose first byte is an input/output error


def test_a_held_out_scene_that_cannot_be_read_is_named_once_and_the_others_go_on(work, run_tool):
    folder, arguments, _ = work
    card = {"experiment": "pixel", "model": "pixel", "iteration": 0, "crop": 33, "tasks": DATASETS}
    seen = {"trained_on": {"land": "abababababab"}}
    write_card(folder / "net.caffemodel", ModelCard(mean=MEAN, scale=SCALE, **card, **seen))
    for id in ("6", "9"):  # 7 and 9 are held out
        (folder / "scenes" / f"{id}_sat.png").symlink_to(UNREADABLE)
    done = run_tool("predict.py", *arguments, "--hold-out", 2)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "scenes/9_sat.png: cannot be read (Input/output error)" in done.stderr
    assert "1 land map in" in done.stdout
    assert names(folder) == ["7_mask.png"]


def test_a_map_that_cannot_be_read_is_named_and_the_others_go_on(work, run_tool):
    folder, arguments, _ = work
    assert run_tool("predict.py", *arguments).returncode == 0
    (folder / "maps" / "7_mask.png").unlink()
    (folder / "maps" / "7_mask.png").symlink_to(UNREADABLE)
    done = run_tool("predict.py", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "maps/7_mask.png: cannot be read (Input/output error)" in done.stderr
    assert "1 finished before; 1 failed" in done.stdout


def test_a_finished_map_whose_image_cannot_be_read_any_more_is_named_and_the_others_go_on(work, run_tool):
    folder, arguments, _ = work
    assert run_tool("predict.py", *arguments).returncode == 0
    before = (folder / "maps" / "7_mask.png").read_bytes()
    (folder / "scenes" / "7_sat.png").unlink()
    (folder / "scenes" / "7_sat.png").symlink_to(UNREADABLE)
    done = run_tool("predict.py", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "scenes/7_sat.png: cannot be read (Input/output error)" in done.stderr
    assert "1 finished before; 1 failed" in done.stdout
    assert (folder / "maps" / "7_mask.png").read_bytes() == before


def test_maps_of_somebody_else_need_overwrite(work, run_tool):
    folder, arguments, _ = work
    old = folder / "maps" / "8_mask.png"
    old.parent.mkdir()
    old.write_bytes(b"old")
    refused(run_tool("predict.py", *arguments), str(old), "exists already", "--overwrite")
    assert [path.read_bytes() for path in old.parent.iterdir()] == [b"old"]
    assert run_tool("predict.py", *arguments, "--overwrite").returncode == 0
    assert read_map(old, LAND).shape == (70, 100)


def test_a_broken_scene_is_named_and_the_others_go_on(work, run_tool):
    folder, arguments, _ = work
    path = folder / "scenes" / "7_sat.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    done = run_tool("predict.py", *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"predict.py: {path}: is cut off after 200 bytes" in done.stderr
    assert "1 land map in" in done.stdout
    assert "; 1 failed" in done.stdout
    assert names(folder) == ["8_mask.png"]
    path.write_bytes(whole)
    done = run_tool("predict.py", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "; 1 finished before" in done.stdout
    assert names(folder) == ["7_mask.png", "8_mask.png"]


def test_a_second_call_finds_all_finished_and_touches_nothing(work, run_tool):
    folder, arguments, _ = work
    assert run_tool("predict.py", *arguments).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (folder / "maps").rglob("*")}
    done = run_tool("predict.py", *arguments, "--batch", 3, "--threads", 1)  # these change no map
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("0 land maps in ")
    assert "; 2 finished before" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (folder / "maps").rglob("*")} == before


def test_finished_maps_of_other_settings_are_refused_with_both_values(work, run_tool):
    folder, arguments, _ = work
    assert run_tool("predict.py", *arguments).returncode == 0
    before = (folder / "maps" / "7_mask.png").read_bytes()
    done = run_tool("predict.py", "--scales", 0.5, 1, *arguments)
    refused(done, "7_mask.png: was made with scales 1.0, now it is 0.5 1.0", "--overwrite")
    net = read_caffemodel(folder / "net.caffemodel")
    net["land_score"][0][...] *= -1
    card = read_card(folder / "net.caffemodel")
    write_caffemodel(folder / "net.caffemodel", "", net, overwrite=True)
    write_card(folder / "net.caffemodel", card)
    refused(run_tool("predict.py", *arguments), "7_mask.png: was made with weights ")
    assert (folder / "maps" / "7_mask.png").read_bytes() == before
    assert run_tool("predict.py", *arguments, "--overwrite").returncode == 0
    assert (folder / "maps" / "7_mask.png").read_bytes() != before


def test_overwrite_leaves_no_map_of_another_kind_behind(work, run_tool):
    folder, arguments, _ = work
    assert run_tool("predict.py", *arguments).returncode == 0
    assert run_tool("predict.py", *arguments, "--raster", "--confidence", "--overwrite").returncode == 0
    assert names(folder) == [
        f"{id}_{kind}" for id in "78" for kind in ("confidence.tif", "mask.tif", "mask.tif.aux.xml")
    ]


def test_maps_do_not_go_among_the_scenes(work, run_tool):
    folder, arguments, _ = work
    truth = folder / "scenes" / "7_mask.png"
    truth.write_bytes(b"truth")
    done = run_tool("predict.py", *arguments, "--out", folder / "scenes", "--overwrite")
    refused(done, "scenes: is the folder of 7_sat.png", "choose another --out")
    assert truth.read_bytes() == b"truth"


def test_several_weights_scales_and_flips_are_averaged(work, run_tool):
    folder, arguments, parameters = work
    other = {name: [blob * 0.5 for blob in blobs] for name, blobs in parameters.items()}
    write_caffemodel(folder / "other.caffemodel", "", other)
    write_card(folder / "other.caffemodel", read_card(folder / "net.caffemodel"))
    grey = np.full((40, 50, 3), (50, 120, 200), np.uint8)  # the same at every scale
    grey[:, 25:] = (220, 30, 90)
    cv2.imwrite(str(folder / "scenes" / "7_sat.png"), grey)
    options = ["--probabilities", "--flip", "--scales", 0.5, 1, 2, "--weights", folder / "net.caffemodel"]
    done = run_tool("predict.py", *arguments[:2], *options, folder / "other.caffemodel", *arguments[4:])
    assert (done.returncode, done.stderr) == (0, "")
    expected = [by_hand(grey, some["land_score"], MEAN, SCALE) for some in (parameters, other)]
    expected = np.mean(expected, axis=0).transpose(2, 0, 1)
    with rasterio.open(folder / "maps" / "7_probabilities.tif") as file:
        got = file.read() / 254
    away = np.r_[0:20, 30:50]  # where the scales do not mix the halves
    assert np.abs(got - expected)[:, :, away].max() < 1 / 508 + 1e-5


def test_weights_of_another_net_are_refused_with_both_names(work, run_tool):
    folder, arguments, _ = work
    deploy = folder / "deploy.prototxt"
    plain = deploy.read_text()
    deploy.write_text('name: "dfcnet"\n' + plain)
    refused(run_tool("predict.py", *arguments), "net.json: trained as pixel", "the net of dfcnet")
    deploy.write_text("# ---- Input: (BGR - [1.0, 2.0, 3.0]) * 0.5, any size 32k+1\n" + plain)
    done = run_tool("predict.py", *arguments)
    refused(done, "net.json: trained with mean 100.0 110.0 120.0 (blue green red), scale 0.02, but ")
    refused(done, "has mean 1.0 2.0 3.0 (blue green red), scale 0.5")
    assert not (folder / "maps").exists()


@pytest.mark.parametrize(
    "change, words",
    [
        (["--deploy", "none.prototxt"], ["none.prototxt", "cannot be read"]),
        (["--weights", "none.caffemodel"], ["none.caffemodel", "cannot be read"]),
        (["--tile", "64"], ["tile side 64 is not 32k+1", "take 33 or 65"]),
        (["--overlap", "33"], ["overlap", "33", "choose 0 to 32"]),
        (["--hold-out", "0"], ["--hold-out", "is 0"]),
        (["--batch", "0"], ["batch: is 0"]),
        (["--threads", "0"], ["--threads: is 0"]),
        (["--scales", "1", "1"], ["scales: are 1 1"]),
        (["--scales", "0"], ["scales: 0 is out of range"]),
        (["--stretch", "9", "2"], ["--stretch: is 9 2", "lower value first"]),
        (["--bands", "0", "1", "2"], ["--bands: is 0 1 2"]),
        (["--bands", "1", "2", "3"], ["--bands: given for", "which is not a TIFF"]),
        (["no/such/*.jpg"], ["no/such/*.jpg: matches no image"]),
        (["nowhere.jpg"], ["nowhere.jpg: is neither a file nor a folder"]),
    ],
)
def test_a_wrong_option_is_named(work, run_tool, change, words):
    folder, arguments, _ = work
    refused(run_tool("predict.py", *arguments[4:], *arguments[:4], *change, cwd=folder), *words)
    assert not (folder / "maps").exists()


def test_a_stretch_of_which_the_weights_know_nothing_is_warned_of(work, run_tool):
    _, arguments, _ = work
    done = run_tool("predict.py", *arguments, "--stretch", 0, 255)
    assert done.returncode == 0
    assert "warning: --stretch: deepglobe_land states no stretch; " in done.stderr


def test_no_folder_is_left_where_no_scene_can_be_mapped(work, run_tool):
    folder, arguments, _ = work
    (folder / "broken").mkdir()
    (folder / "broken" / "1_sat.jpg").write_bytes(b"no picture")
    done = run_tool("predict.py", *arguments[:-1], folder / "broken")
    assert (done.returncode, "; 1 failed" in done.stdout) == (2, True)
    assert not (folder / "maps").exists()


def test_weights_that_do_not_fit_are_named(work, run_tool):
    folder, arguments, _ = work
    write_deploy(folder / "deploy.prototxt", 33, land=6, road=3)
    refused(run_tool("predict.py", *arguments, "--task", "road"), "net.caffemodel", "road_score", "2", "3")


def test_an_empty_folder_is_named(work, run_tool):
    folder, arguments, _ = work
    (folder / "empty").mkdir()
    refused(run_tool("predict.py", *arguments[:-1], folder / "empty"), "empty: holds no image")


def test_only_the_test_part_of_a_split_where_asked(work, run_tool):
    folder, arguments, _ = work
    split = make_split("deepglobe_land", ["7", "8"], 1, 0)
    write_split(folder / "split.json", split)
    assert run_tool("predict.py", *arguments, "--split", folder / "split.json").returncode == 0
    assert names(folder) == [f"{split.test[0]}_mask.png"]
    done = run_tool("predict.py", *arguments, "--split", folder / "none.json")
    refused(done, "none.json", "cannot be read")


def test_scenes_that_cannot_be_mapped_by_their_names_keep_no_other_from_it(work, run_tool):
    folder, arguments, _ = work
    whole = (folder / "scenes" / "7_sat.png").read_bytes()
    long, odd = folder / "scenes" / f"{'x' * 247}_sat.png", folder / "scenes" / "#9_sat.png"
    for path in (long, odd):
        path.write_bytes(whole)
    done = run_tool("predict.py", *arguments, "--probabilities")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"predict.py: {odd}: makes no scene id; rename it: printable characters, no space around them, "
        "no # in front",
        f"predict.py: {long}: would make names of 281 bytes, where 255 are possible; give it a shorter name",
    ]
    assert "2 land maps in " in done.stdout
    assert "; 2 failed" in done.stdout
    assert names(folder) == ["7_mask.png", "7_probabilities.tif", "8_mask.png", "8_probabilities.tif"]


def test_masks_are_not_mapped_and_ids_of_no_scene_are_named(work, run_tool):
    folder, arguments, _ = work
    scenes, bad = folder / "scenes", folder / "bad.txt"
    mask = scenes / "7_mask.PNG"
    mask.write_bytes((scenes / "7_sat.png").read_bytes())
    bad.write_bytes("\ufeff8_sat.png\r\n77\r\n".encode())
    done = run_tool("predict.py", *arguments[:-1], *sorted(scenes.iterdir()), "--leave-out", bad)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"predict.py: warning: 1 file left out, as {mask}: not an image of deepglobe_land by its name",
        f"predict.py: warning: {bad}: 1 id of no scene, as 77: nothing is left out for it",
    ]
    assert names(folder) == ["7_mask.png"]
