"""What trained never tests: the commands that build, map and score agree on the parts of a folder."""

import hashlib
import json

import cv2
import numpy as np
import pytest

from inference.scene_maps import write_map
from prototxt_gen.model_card import ModelCard, write_card
from tests.conftest import refused
from tests.datasets import LAND
from tests.inference.pixel_net import make_pixel_net

pytestmark = pytest.mark.caffe

BAD = {"02"}  # left out
IDS = [f"{number:02}" for number in range(11)]
FIFTH = ["04", "09"]  # every fifth of the eleven


@pytest.fixture
def data(tmp_path):
    """A folder `scenes` of eleven small scenes, a list `bad.txt`, and a net; return the folder above."""
    (tmp_path / "bad.txt").write_text("".join(f"{id}\n" for id in BAD))
    rng = np.random.default_rng(5)
    for id in IDS:
        write_map(tmp_path / "scenes" / f"{id}_mask.png", rng.integers(0, 6, (40, 40)), LAND)
        image = rng.integers(0, 256, (40, 40, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "scenes" / f"{id}_sat.png"), image)
    make_pixel_net(tmp_path)
    return tmp_path


@pytest.fixture
def call(data, run_tool, monkeypatch):
    """Return functions build, predict and evaluate that call the tools on `scenes` with further options."""
    monkeypatch.chdir(data)
    [deploy], [weights] = data.glob("*.prototxt"), data.glob("*.caffemodel")

    def build(*options):
        command = ["build_lmdb.py", "dfcnet_demo", "land", "--images", "scenes", "--margin", 0, "--out", "db"]
        command += ["--set", "input.crop=33"]
        return run_tool(*command, "--overwrite", *options)

    def predict(*options):
        command = ["predict.py", "--deploy", deploy, "--weights", weights, "--out", "maps", "scenes"]
        command += ["--dataset", "deepglobe_land"]
        return run_tool(*command, *options)

    def evaluate(*options):
        return run_tool(
            "evaluate.py", "--dataset", "deepglobe_land", "--truth", "scenes", "--pred", "maps", *options
        )

    return build, predict, evaluate


def trained(data) -> set[str]:
    return {entry["id"] for entry in json.loads((data / "db" / "manifest.json").read_text())["inputs"]}


def mapped(data) -> list[str]:
    return sorted(path.name.partition("_")[0] for path in (data / "maps").glob("*_mask.png"))


@pytest.mark.parametrize("list_given", [(), ("--leave-out", "bad.txt")])
def test_no_scene_that_trained_is_mapped_with_the_list_or_without(data, call, list_given):
    build, predict, evaluate = call
    assert build("--hold-out", 5, "--leave-out", "bad.txt").returncode == 0
    assert trained(data) == {*IDS} - BAD - {*FIFTH}
    assert predict("--hold-out", 5, *list_given).returncode == 0
    assert mapped(data) == FIFTH
    done = evaluate("--hold-out", 5, *list_given)
    assert done.returncode == 0, done.stderr
    assert "2 scenes, 3,200 scored pixels" in done.stdout


def test_a_split_goes_with_the_list_that_it_was_made_with(data, call, run_tool):
    build, predict, evaluate = call
    options = ("--split", "split.json", "--leave-out", "bad.txt")
    split = run_tool("split_data.py", "deepglobe_land", "scenes", "--train", 7, "--out", *options[1:])
    assert split.returncode == 0, split.stderr
    assert build(*options).returncode == 0
    refused(predict(*options[:2]), "split.json: lacks scene 02", "leave it out")
    assert predict(*options).returncode == 0
    assert len(mapped(data)) == 3
    assert {*mapped(data)} == {*IDS} - BAD - trained(data)
    assert "3 scenes, 4,800 scored" in evaluate(*options).stdout


def test_maps_of_other_scenes_are_not_scored_and_missing_ones_are_named(data, call):
    _, predict, evaluate = call
    assert predict().returncode == 0  # all eleven, trained or not
    assert "2 scenes, 3,200 scored pixels" in evaluate("--hold-out", 5).stdout
    (data / "maps" / "09_mask.png").unlink()
    refused(evaluate("--hold-out", 5), "maps: lacks the prediction of scene 09")


def test_a_folder_of_masks_alone_has_the_same_parts(data, call):
    _, predict, evaluate = call
    assert predict("--hold-out", 5).returncode == 0
    for image in (data / "scenes").glob("*_sat.png"):
        image.rename(data / image.name)
    done = evaluate("--hold-out", 5, "--leave-out", "bad.txt")
    assert "2 scenes, 3,200 scored pixels" in done.stdout, done.stderr


def test_a_part_without_a_map_or_without_a_scene_is_named(data, call):
    _, predict, evaluate = call
    assert predict().returncode == 0
    for id in FIFTH:
        (data / "maps" / f"{id}_mask.png").unlink()
    refused(evaluate("--hold-out", 5, "--only-predicted"), "maps: holds no map of these scenes")
    (data / "bad.txt").write_text("".join(f"{id}\n" for id in IDS))
    refused(evaluate("--leave-out", "bad.txt"), "--leave-out: leaves no scene")
    refused(predict("--leave-out", "bad.txt"), "--leave-out: leaves no scene")


def test_test_scenes_that_the_inputs_lack_are_told(data, call, run_tool):
    _, predict, evaluate = call
    assert (
        run_tool("split_data.py", "deepglobe_land", "scenes", "--train", 8, "--out", "split.json").returncode
        == 0
    )
    gone = json.loads((data / "split.json").read_text())["test"][0]
    for path in (data / "scenes").glob(f"{gone}_*"):
        path.unlink()
    done = predict("--split", "split.json")
    assert done.returncode == 0
    assert f"warning: split.json: has 1 test scene that the folders lack, as {gone}; " in done.stderr
    assert len(mapped(data)) == 2
    refused(evaluate("--split", "split.json"), f"that the folders lack, as {gone}", "--leave-out")


def test_what_trained_never_tests_though_it_is_every_fourth_of_one_folder(data, call, run_tool):
    """Of 00 to 10, 03 and 07 are held out; of the folder of 06 to 10 alone, it would be 09."""
    build, predict, evaluate = call
    assert build("--hold-out", 4).returncode == 0
    assert trained(data) == {*IDS} - {"03", "07"}
    [weights] = data.glob("*.caffemodel")
    sums = {
        id: hashlib.sha256((data / "scenes" / f"{id}_sat.png").read_bytes()).hexdigest()
        for id in trained(data)
    }
    seen = {"land": " ".join(checksum[:12] for checksum in sums.values())}
    card = {"experiment": "e", "model": "m", "iteration": 1, "crop": 33, "mean": (9, 9, 9), "scale": 1.0}
    write_card(weights, ModelCard(**card, tasks={"land": LAND}, trained_on=seen))
    for id in IDS[:6]:
        for path in (data / "scenes").glob(f"{id}_*"):
            (data / "first").mkdir(exist_ok=True)
            path.rename(data / "first" / path.name)
    done = predict("--hold-out", 4)
    refused(done, "09_sat.png: has trained these weights, and --hold-out 4 takes it", "all the folders")
    assert not (data / "maps").exists()
    done = predict("first", "--hold-out", 4)
    assert (done.returncode, mapped(data)) == (0, ["03", "07"]), done.stderr
    assert predict().returncode == 0  # any scene may be mapped
    refused(evaluate("--hold-out", 4, "--only-predicted"), "lacks the true mask of scene 03")
    (data / "maps" / "03_mask.png").unlink()  # its true mask is in the other folder
    refused(evaluate("--hold-out", 4, "--only-predicted"), "09_mask.png: is of a scene that trained")
    done = evaluate("--only-predicted", "--json", "scores.json")
    assert done.returncode == 0, done.stderr
    assert "4 of 5 scenes trained the weights, as 06: the scores will mislead" in done.stderr
    assert json.loads((data / "scores.json").read_text())["trained"] == ["06", "08", "09", "10"]
