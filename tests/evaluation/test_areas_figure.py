"""The map, its polygons and the bars have the classes' colours in their places."""

import json

import cv2
import numpy as np
import pytest
import shapely

from evaluation.area_assessment import AreaAssessment, as_numbers
from evaluation.areas_figure import draw_areas
from evaluation.page.areas import read_areas
from evaluation.sampling import SampleDesign, Stratum
from inference.scene_maps import write_map
from tests.conftest import refused
from tests.datasets import LAND


@pytest.fixture
def areas(tmp_path):
    """4 ha of urban land and 8 ha of agriculture in the maps; all 20 points of both are right."""
    strata = [
        Stratum(
            number=k,
            name=name,
            pixels=1000 * (k < 2),
            hectares=(4.0, 8.0, 0, 0, 0, 0)[k],
            points=20 * (k < 2),
        )
        for k, name in enumerate(LAND.class_names)
    ]
    design = SampleDesign(seed=1, dataset=LAND, crs=None, strata=tuple(strata), maps=(), drawn="")
    path = tmp_path / "areas.json"
    path.write_text(json.dumps(as_numbers(AreaAssessment(design, np.diag([20, 20, 0, 0, 0, 0])))))
    return path


def of_colour(part: np.ndarray, label: int) -> np.ndarray:
    return (part == LAND.palette[label]).all(axis=2)


def test_map_polygons_and_bars_stand_side_by_side(areas, tmp_path):
    """A lake with an island of forest in the lower half; in the polygons the upper half is barren."""
    labels = np.full((40, 40), 0, np.uint8)
    labels[20:] = 4
    lake = shapely.box(0, -40, 40, -20) - shapely.box(10, -35, 30, -25)
    polygons = [(5, shapely.box(0, -20, 40, 0)), (4, lake), (3, shapely.box(10, -35, 30, -25))]
    draw_areas(labels, polygons, read_areas(areas, LAND), LAND, tmp_path / "f.png")
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "f.png")), cv2.COLOR_BGR2RGB)
    left, middle, right = np.split(
        picture, [int(0.288 * picture.shape[1]), int(0.58 * picture.shape[1])], axis=1
    )
    urban, water = of_colour(left, 0), of_colour(left, 4)
    assert urban.sum() == pytest.approx(water.sum(), rel=0.02)
    assert np.nonzero(urban)[0].mean() < np.nonzero(water)[0].mean()
    water, forest = of_colour(middle, 4), of_colour(middle, 3)
    assert forest.sum() / (water.sum() + forest.sum()) == pytest.approx(1 / 4, rel=0.05)
    assert not of_colour(middle, 0).any()
    bars = [of_colour(right, label).sum(axis=1).max() for label in (0, 1)]
    assert bars[1] == pytest.approx(2 * bars[0], rel=0.05)


def test_the_command_shows_a_scene_and_says_which_it_lacks(areas, tmp_path, run_tool):
    (tmp_path / "maps").mkdir()
    write_map(tmp_path / "maps" / "7_mask.png", np.eye(20, dtype=np.uint8), LAND)
    named, polygons = ("--dataset", "deepglobe_land"), tmp_path / "maps.gpkg"
    done = run_tool("polygons.py", tmp_path / "maps", "--out", polygons, "--pixel-size", 10, *named)
    assert done.returncode == 0, done.stderr
    draw = ["figure.py", "areas", areas, "--pred", tmp_path / "maps", *named, "--out", tmp_path / "f.svg"]
    refused(run_tool(*draw, "--polygons", polygons, "--scene", "8"), "maps: has no map of scene 8", "--scene")
    refused(run_tool(*draw, "--polygons", areas), "areas.json: ", "give a file of dfcnet polygons")
    assert not (tmp_path / "f.svg").exists()
    done = run_tool(*draw, "--polygons", polygons)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'f.svg'}: scenes 7\n"
