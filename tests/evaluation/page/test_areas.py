"""Areas and reliability stand on the page where they are given, and only those of its run."""

import json

import numpy as np
import pytest

from common.errors import DataError
from evaluation.area_assessment import AreaAssessment, as_numbers
from evaluation.page.areas import read_areas
from evaluation.page.build import page
from evaluation.sampling import SampleDesign, Stratum
from tests.datasets import LAND, ROAD
from tests.evaluation.page.finished_run import make_finished_run
from tests.evaluation.test_calibration_files import made


@pytest.fixture
def run(tmp_path):
    return make_finished_run(tmp_path)


@pytest.fixture
def areas(tmp_path):
    """Of maps of 10 ha of each class but barren; a tenth of each class's points is agriculture."""
    strata = [
        Stratum(number=k, name=name, pixels=1000 * (k < 5), hectares=10.0 * (k < 5), points=20 * (k < 5))
        for k, name in enumerate(LAND.class_names)
    ]
    design = SampleDesign(seed=1, dataset=LAND, crs=None, strata=tuple(strata), maps=(), drawn="")
    counts = np.diag([18, 18, 18, 18, 18, 0])
    counts[:5, 1] += 2
    path = tmp_path / "areas.json"
    path.write_text(json.dumps(as_numbers(AreaAssessment(design, counts, missing=3))))
    return path


def test_the_page_shows_areas_and_reliability(run, areas, tmp_path):
    calibration = made(run.folder / "weights.caffemodel")
    (tmp_path / "calibration.json").write_text(calibration.model_dump_json())
    text = page(run.folder, None, None, 1, None, areas, tmp_path / "calibration.json")
    assert 'href="#areas"' in text
    assert 'href="#reliability"' in text
    row = text[text.index("</i>agriculture") :].split("</tr>")[0]
    # 10 ha and a tenth of the others' 40.
    assert "<td>10.00</td><td>14.00</td>" in row
    assert "<td>100.0</td><td>100.00 to 100.00</td>" in row
    assert "<td>71.4</td>" in row  # 10 of 14 ha are found
    assert "</i>barren</th><td>0.00</td><td>0.00</td><td>0.00 to 0.00</td><td>-</td>" in text
    assert "3 points without interpretation left out" in text
    assert "Temperature of all: 1.750" in text
    assert f"before <b>{100 * calibration.before.ece:.2f} %</b>" in text
    assert "Accuracy by confidence in 15 bins; expected calibration error: before" in text


def test_a_page_without_them_does_not_speak_of_them(run):
    text = page(run.folder, run.scores, None, 1)
    assert 'id="areas"' not in text
    assert "eliability" not in text


def test_files_of_other_classes_other_weights_or_other_kinds_are_refused(run, areas, tmp_path):
    with pytest.raises(DataError, match=r"areas\.json: has the classes urban, .*, the run background, road"):
        read_areas(areas, ROAD)
    with pytest.raises(DataError, match=r"score\.json: holds no areas"):
        read_areas(run.scores, LAND)
    (tmp_path / "calibration.json").write_text(made(areas).model_dump_json())
    with pytest.raises(
        DataError, match=r"calibration\.json: is of other weights .* than weights\.caffemodel"
    ):
        page(run.folder, None, None, 1, None, None, tmp_path / "calibration.json")
