"""A check of a data set names every bad scene once, finds duplicates, and counts the classes."""

import cv2
import numpy as np
import pytest

from common.errors import DataError
from data_prep import scene_pixels
from data_prep.read_options import ReadOptions
from data_prep.subsets import read_leave_out, write_leave_out
from data_prep.verification import verify
from tests.datasets import ROAD

SIDE = 50


def add(folder, id: str, road_rows: int = 5, seed: int | None = None, ending: str = "_sat.jpg") -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(sum(id.encode()) if seed is None else seed)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:road_rows] = 255
    cv2.imwrite(str(folder / (id + ending)), rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    cv2.imwrite(str(folder / f"{id}_mask.png"), mask)


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        add(tmp_path / "set", str(number), road_rows=number)
    return tmp_path / "set"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_set_is_usable_and_counted(folder, workers):
    report = verify([folder], ROAD, ReadOptions(), workers=workers)
    assert report.usable
    road = sum(range(6)) * SIDE
    assert report.pixels == {"background": 6 * SIDE**2 - road, "road": road, "ignored": 0}
    assert report.sizes == {"50x50": 6}
    assert [one.scene.id for one in report.checked] == list("012345")


def spoil(folder) -> dict[str, str]:
    """Spoil scenes 0 to 4 in as many ways; return what the report must say of each."""
    image = folder / "0_sat.jpg"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    (folder / "1_mask.png").unlink()
    (folder / "2_sat.jpg").unlink()
    cv2.imwrite(str(folder / "3_mask.png"), np.zeros((SIDE, SIDE + 1), np.uint8))
    cv2.imwrite(str(folder / "4_mask.png"), np.full((SIDE, SIDE, 3), (0, 0, 255), np.uint8))
    return {
        "0": "is cut off after",
        "1": "has no mask",
        "2": "has no image",
        "3": "is 51x50, its image 50x50",
        "4": "is not a colour of deepglobe_road",
    }


@pytest.mark.parametrize("workers", [1, 3])
def test_each_problem_is_named_and_the_rest_can_be_used(folder, tmp_path, workers):
    expected = spoil(folder)
    report = verify([folder], ROAD, ReadOptions(), workers=workers)
    assert not report.usable
    assert [problem.id for problem in report.problems] == list(expected)
    for problem in report.problems:
        assert expected[problem.id] in problem.fact
        assert str(folder) in problem.file
    assert [one.scene.id for one in report.checked] == ["5"]
    write_leave_out(tmp_path / "fix.txt", report.bad_ids)
    left_out = read_leave_out(tmp_path / "fix.txt", ROAD)
    assert left_out == {*"01234"}
    assert verify([folder], ROAD, ReadOptions(), leave_out=left_out).usable


def test_duplicates_are_found_by_their_pixels_not_their_bytes(folder):
    image = cv2.imread(str(folder / "3_sat.jpg"))
    add(folder, "7")
    (folder / "7_sat.jpg").unlink()
    cv2.imwrite(str(folder / "7_sat.png"), image)  # another format, the same picture
    report = verify([folder], ROAD, ReadOptions(), workers=2)
    [problem] = report.problems
    assert problem.id == "7"
    assert problem.fact == f"shows the same pixels as {folder / '3_sat.jpg'}"
    assert not report.usable


def test_one_id_in_two_folders_is_a_problem(folder, tmp_path):
    add(tmp_path / "more", "2", seed=99)
    [problem] = verify([folder, tmp_path / "more"], ROAD, ReadOptions()).problems
    assert (problem.id, problem.file) == ("2", str(tmp_path / "more" / "2_sat.jpg"))


def test_names_that_make_no_id_stay_comments_in_the_list(folder, tmp_path):
    add(folder, "a\nb")
    report = verify([folder], ROAD, ReadOptions())
    write_leave_out(tmp_path / "fix.txt", report.bad_ids)
    assert read_leave_out(tmp_path / "fix.txt", ROAD) == frozenset()
    assert "a\\nb" in (tmp_path / "fix.txt").read_text()


def test_nothing_to_check_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no"):
        verify([tmp_path], ROAD, ReadOptions())


def test_a_disk_that_fails_in_a_scene_is_a_problem_of_that_scene(folder, monkeypatch):
    opened = scene_pixels.open_truth

    def failing(path, dataset):
        if path.name == "3_mask.png":
            raise OSError(5, "Input/output error", str(path))
        return opened(path, dataset)

    monkeypatch.setattr(scene_pixels, "open_truth", failing)
    report = verify([folder], ROAD, ReadOptions())
    assert [(problem.id, problem.file, problem.fact) for problem in report.problems] == [
        ("3", str(folder / "3_mask.png"), "cannot be read (Input/output error)")
    ]
    assert len(report.checked) == 5
