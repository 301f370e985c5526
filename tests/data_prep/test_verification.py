"""A check of a data set names every bad scene once, finds duplicates, and counts the classes."""

import json

import cv2
import numpy as np
import pytest
import rasterio

from common.errors import DataError
from data_prep import scene_pixels
from data_prep.read_options import ReadOptions
from data_prep.subsets import read_leave_out, write_leave_out
from data_prep.verification import verify
from tests.datasets import ROAD, changed

SIDE = 50
DEEP = changed(ROAD, bands=["red", "nir"], images=["*_sat.tif"], stretch=(100, 355))


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


@pytest.mark.parametrize("workers", [None, 1, 2])
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


@pytest.mark.parametrize("workers", [None, 1, 3])
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


def add_deep(folder, id: str, bands: np.ndarray, **options) -> None:
    """Add a scene of uint16 bands (2, H, W), half of it road."""
    folder.mkdir(exist_ok=True)
    shape = {"count": 2, "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(
        folder / f"{id}_sat.tif", "w", driver="GTiff", dtype="uint16", **shape, **options
    ) as file:
        file.write(bands.astype(np.uint16))
    mask = np.zeros(bands.shape[1:], np.uint8)
    mask[: len(mask) // 2] = 255
    cv2.imwrite(str(folder / f"{id}_mask.png"), mask)


def test_bands_are_counted_after_the_stretch_where_there_are_data(tmp_path):
    """Levels by hand: value - 100, at most 255; a pixel is without data where a band is 0."""
    red = np.array([[100, 110, 120, 0], [355, 400, 130, 0]])
    nir = np.array([[150, 150, 150, 7], [150, 150, 156, 0]])
    add_deep(tmp_path / "set", "a", np.stack([red, nir]), nodata=0)
    report = verify([tmp_path / "set"], DEEP, ReadOptions.of(DEEP))
    reds, nirs = [0, 10, 20, 255, 255, 30], [50, 50, 50, 50, 50, 56]
    expected = [
        ("red", np.mean(reds), np.std(reds), 1 / 6, 2 / 6),
        ("nir", 51, np.std(nirs), 0, 0),
    ]
    for band, (name, *numbers) in zip(
        json.loads(json.dumps(report.as_json()))["bands"], expected, strict=True
    ):
        assert (band.pop("name"), band.pop("saturated")) == (name, False)
        assert list(band.values()) == pytest.approx(numbers)
    assert report.usable
    assert "mean = [95.00, 51.00]  # red, nir\n" in report.as_text()
    assert ["red", "95.00", f"{np.std(reds):.2f}", "16.67", "%", "33.33", "%"] in [
        line.split() for line in report.as_text().splitlines()
    ]


@pytest.mark.parametrize("clipped, usable", [(95, True), (96, False)])
def test_a_band_that_a_stretch_saturates_is_not_usable(tmp_path, clipped, usable):
    nir = np.full((10, 10), 200)
    nir.flat[:clipped:2], nir.flat[1:clipped:2] = 50, 900
    for id in "ab":
        red = np.random.default_rng(ord(id)).integers(101, 355, (10, 10))
        add_deep(tmp_path / "set", id, np.stack([red, nir]))
    report = verify([tmp_path / "set"], DEEP, ReadOptions.of(DEEP))
    assert (report.usable, [band.name for band in report.saturated]) == (usable, [] if usable else ["nir"])
    line = f"band nir: 0 or 255 in {clipped}.0 % of its pixels; give the data set a stretch"
    assert (line in report.as_text()) is not usable
    assert report.as_text().endswith("usable" if usable else "not usable as it is: band nir is saturated")


def test_pictures_of_black_and_white_are_not_saturated_by_a_stretch(folder):
    for number in range(6):
        picture = np.where(np.random.default_rng(number).random((SIDE, SIDE)) < 0.5, 0, 255)
        cv2.imwrite(str(folder / f"{number}_sat.png"), picture)
        (folder / f"{number}_sat.jpg").unlink()
    assert verify([folder], ROAD, ReadOptions()).usable


def test_without_a_stretch_one_that_holds_those_of_all_scenes_is_shown(tmp_path):
    dataset, by_scene = changed(DEEP, stretch=None), []
    for id, top in (("a", 800), ("b", 2000)):
        bands = np.random.default_rng(top).integers(top // 4, top, (2, 30, 30))
        add_deep(tmp_path / "set", id, bands)
        by_scene.append(np.percentile(bands.reshape(2, -1), (2, 98), axis=1))
    report = verify([tmp_path / "set"], dataset, ReadOptions.of(dataset))
    low, high = np.min(by_scene), np.max(by_scene)
    assert report.stretch == pytest.approx((low, high))
    assert f"stretch = [{low:g}, {high:g}]  # holds the stretch of every scene" in report.as_text()
    assert verify([tmp_path / "set"], DEEP, ReadOptions.of(DEEP)).stretch is None


def test_many_problems_of_one_cause_are_one_line(folder):
    for number in range(5):
        (folder / f"{number}_mask.png").unlink()
    report = verify([folder], ROAD, ReadOptions())
    lines = [line for line in report.as_text().splitlines() if "has no mask" in line]
    assert [line.partition(": ")[0] for line in lines] == [f"5 files, as {folder / '0_sat.jpg'}"]
    assert [problem.id for problem in report.problems] == list("01234")
    assert report.as_text().endswith("not usable as it is: 5 problems")


def test_a_folder_is_not_counted_as_a_file(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"holds no .* among 1 file;"):
        verify([tmp_path], ROAD, ReadOptions())


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
