"""Images with the labels of others."""

import cv2
import numpy as np
import pytest

from common.errors import DataError
from data_prep.read_options import ReadOptions
from data_prep.scenes import find_scenes
from data_prep.shuffling import shuffle_masks
from tests.conftest import refused
from tests.datasets import ROAD


@pytest.fixture
def folder(tmp_path):
    """Five scenes of 40 pixels and three of 48."""
    (tmp_path / "scenes").mkdir()
    for number, side in enumerate([40] * 5 + [48] * 3):
        image = np.full((side, side, 3), 20 * number, np.uint8)
        mask = np.zeros((side, side, 3), np.uint8)
        mask[number] = 255  # one row of road, another in each scene
        cv2.imwrite(str(tmp_path / f"scenes/{number}_sat.png"), image)
        cv2.imwrite(str(tmp_path / f"scenes/{number}_mask.png"), mask)
    return tmp_path / "scenes"


def test_no_image_keeps_its_labels_and_none_are_lost(folder):
    scenes = find_scenes([folder], ROAD)
    for seed in range(20):
        shuffled = shuffle_masks(scenes, ROAD, seed, ReadOptions())
        assert [(s.id, s.image) for s in shuffled] == [(s.id, s.image) for s in scenes]
        assert sorted(s.mask for s in shuffled) == sorted(s.mask for s in scenes)
        pairs = [(int(s.id), int(s.mask.name[0])) for s in shuffled]
        assert all(own != other and (own < 5) == (other < 5) for own, other in pairs)


def test_the_seed_decides(folder):
    scenes = find_scenes([folder], ROAD)
    first = shuffle_masks(scenes, ROAD, 1, ReadOptions())
    assert first == shuffle_masks(scenes, ROAD, 1, ReadOptions())
    assert any(first != shuffle_masks(scenes, ROAD, seed, ReadOptions()) for seed in (2, 3, 4))


def test_a_scene_of_a_size_of_its_own_is_refused(folder):
    for end in ("sat", "mask"):
        cv2.imwrite(str(folder / f"wide_{end}.png"), np.zeros((40, 41, 3), np.uint8))
    with pytest.raises(DataError, match=r"wide_sat\.png: is the only scene of 41x40 pixels"):
        shuffle_masks(find_scenes([folder], ROAD), ROAD, 1, ReadOptions())


def test_a_database_of_shuffled_labels_says_so(folder, tmp_path, run_tool):
    import json

    for name, more in (("own", []), ("others", ["--shuffle-labels"])):
        out = tmp_path / name
        done = run_tool("build_lmdb.py", "dfcnet_demo", "road", "--images", folder, "--out", out, *more)
        assert done.returncode == 0, done.stderr
        manifest = json.loads((out / "manifest.json").read_text())
        same = [entry["mask"] == entry["image"].replace("_sat", "_mask") for entry in manifest["inputs"]]
        assert same == [not more] * 8
        assert (manifest["split"] or {}).get("labels") == ("of another image" if more else None)


def test_a_scene_without_partner_ends_the_command_in_a_line(folder, tmp_path, run_tool):
    for end in ("sat", "mask"):
        cv2.imwrite(str(folder / f"wide_{end}.png"), np.zeros((40, 41, 3), np.uint8))
    out = tmp_path / "db"
    arguments = ("dfcnet_demo", "road", "--images", folder, "--out", out, "--shuffle-labels")
    refused(run_tool("build_lmdb.py", *arguments), "wide_sat.png", "only scene", "leave it out")
    assert not out.exists()
