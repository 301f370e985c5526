"""The page as a file: whole, safe and bounded; what is missing is shown."""

import base64
import hashlib
import html
import json
import re

import cv2
import numpy as np
import pytest

from common.errors import DataError, ExperimentError
from evaluation.evaluation import evaluate
from evaluation.page.build import SceneFolders, page
from evaluation.page.run_facts import facts, read_run
from evaluation.page.scenes import mapped_classes, pictures
from evaluation.page.scores import WHITE_FROM
from evaluation.score_files import as_numbers
from inference.scene_files import pair_masks
from inference.scene_maps import write_map
from tests.datasets import LAND, ROAD, read_map
from tests.evaluation.page.finished_run import make_finished_run
from tests.tools.test_polygons import write_raster


@pytest.fixture
def run(tmp_path):
    return make_finished_run(tmp_path)


def test_facts_come_from_experiment_log_and_weights(run):
    found = dict(facts(read_run(run.folder)))
    assert found["Net"].startswith("DFCNet, ")
    assert found["Iterations"] == "6 of 6"
    assert found["Speed"] == "14.0 images a second (median)"
    assert found["Memory"] == "1.50 GiB at most in the first process"
    assert "9a129038d9a00aed" in found["Weights"]  # sha256sum
    assert found["Records of land"] == "land_lmdb"


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        (None, "not recorded"),  # by an older version
        ([], "scratch"),
        ([{"name": "a.caffemodel", "sha256": "ab" * 32}], "a.caffemodel (SHA-256 abababababababab)"),
    ],
)
def test_a_page_says_what_the_training_started_from(run, recorded, shown):
    if recorded is not None:
        (run.folder / "provenance.json").write_text(json.dumps({"weights": recorded, "databases": {}}))
    assert dict(facts(read_run(run.folder)))["Started from"] == shown
    assert f">{shown}</" in page(run.folder, None, None, 1)


def test_records_are_counted_where_the_database_stands(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "land_lmdb").mkdir()
    (tmp_path / "land_lmdb" / "data.mdb").touch()
    (tmp_path / "land_lmdb" / "manifest.json").write_text(
        json.dumps(
            {
                "format": 2,
                "dataset": LAND.model_dump(mode="json"),
                "side": 37,
                "records": 1200,
                "inputs": [{"id": id, "image_sha256": "0"} for id in "abc"],
            }
        )
    )
    found = dict(facts(read_run(run.folder)))
    assert found["Records of land"] == "1,200 from 3 scenes (land_lmdb)"
    assert (found["Held out of land"], found["Held out of road"]) == (
        "no scene",
        "not known: the database is not there",
    )
    path = tmp_path / "land_lmdb" / "manifest.json"
    for split, words in (
        ({"hold_out": 5, "part": "train"}, "1 of every 5 scenes, by id"),
        ({"file": "split.json", "part": "train"}, "the test part of split.json"),
        ({"leave_out": ["a", "b"]}, "2 scenes by a list"),
    ):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"split": split}))
        assert dict(facts(read_run(run.folder)))["Held out of land"] == words


def test_bands_and_stretch_are_said_and_the_papers_deviations_only_with_its_data(run):
    path = run.folder / "experiment.json"
    table = json.loads(path.read_text())
    assert 'id="deviations"' in page(run.folder, None, None, 1)
    assert dict(facts(read_run(run.folder)))["Bands"].endswith("stretch by percentiles of more than 8 bits")
    table["tasks"]["land"]["dataset"] |= {"name": "valley", "stretch": [500, 1900]}
    table["input"] |= {"mean": [100.0, 110.5, 120.0], "scale": 0.02}
    path.write_text(json.dumps(table))
    assert dict(facts(read_run(run.folder)))["Bands"] == (
        "(blue - 100, green - 110.5, red - 120) x 0.02; "
        "stretch of 500 to 1900 and by percentiles of more than 8 bits"
    )
    text = page(run.folder, run.scores, None, 1, LAND)
    assert "deviations" not in text.partition("<body>")[2]
    assert "3 scenes are few: the intervals are too narrow." in text


def test_pictures_hold_the_files_pixels(run):
    found = pictures(run.scenes, run.scenes, run.maps, LAND, 2)
    assert len(found) == 2
    for picture in found:
        for uri, folder in ((picture.map, run.maps), (picture.truth, run.scenes)):
            data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
            np.testing.assert_array_equal(
                cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.imread(str(folder / f"{picture.id}_mask.png"))
            )
        assert picture.image.startswith("data:image/jpeg;base64,")
        assert (picture.width, picture.height) == (90, 60)


def test_scenes_without_truth_show_image_and_map(run):
    [picture, *_] = pictures(run.scenes, None, run.maps, LAND, 2)
    [known, *_] = pictures(run.scenes, run.scenes, run.maps, LAND, 2)
    assert (picture.image, picture.map, picture.truth) == (known.image, known.map, "")
    text = page(run.folder, None, SceneFolders(run.scenes, None, run.maps), 2)
    assert "Ground truth of" not in text
    assert 'name="right"' not in text
    assert picture.map in text


def test_large_scenes_are_shrunk_so_that_the_page_stays_small(tmp_path):
    """Noise is the worst that a JPEG can get."""
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1500, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "1_sat.png"), noise)
    colours = np.array(LAND.palette, np.uint8)[noise[..., 0] % 6]
    cv2.imwrite(str(tmp_path / "1_mask.png"), colours[..., ::-1])
    [picture] = pictures(tmp_path, tmp_path, tmp_path, LAND, 1)
    assert (picture.width, picture.height) == (600, 400)
    assert len(picture.image) + len(picture.map) + len(picture.truth) < 1.2e6


def test_names_from_outside_are_escaped_and_nothing_is_loaded(run):
    for folder in (run.scenes, run.maps):
        for path in folder.glob("0_*"):
            path.rename(path.with_name(path.name.replace("0_", "<b>&_", 1)))
    run.scores.write_text(run.scores.read_text().replace('"0"', '"<b>&"'))
    text = page(run.folder, run.scores, SceneFolders(run.scenes, run.scenes, run.maps), 3)
    assert "&lt;b&gt;&amp;" in text
    assert "<b>&" not in text
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", text)
    assert not re.findall(r"url\(|@import|https?:", text)


def test_without_scores_and_scenes_the_page_says_how_to_make_them(run):
    text = page(run.folder, None, None, 6)
    assert "dfcnet evaluate --json" in text
    assert "dfcnet predict" in text
    assert "<table" in text  # the deviations


def test_dark_cells_are_those_where_white_reads_better():
    """Contrast by WCAG 2: relative luminance of the colour that report.css mixes, against black and white."""

    def luminance(share):
        channels = (255 + share * (value - 255) for value in (0x12, 0x49, 0x8F))
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in channels)
        ]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    for share in np.linspace(0, 1, 101):
        ink = 1.05 / (luminance(share) + 0.05) if share >= WHITE_FROM else (luminance(share) + 0.05) / 0.05
        assert ink >= 4.5, share


def test_mistakes_are_named(run, tmp_path):
    with pytest.raises(DataError, match=r"experiment\.json: cannot be read .*dfcnet train"):
        page(tmp_path, None, None, 1)
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        page(run.folder, tmp_path / "none.json", None, 1)
    run.scores.write_text("{}")
    with pytest.raises(DataError, match=r"score\.json: holds no scores \(.*dataset"):
        page(run.folder, run.scores, None, 1)
    run.scores.write_text('{"first": "a", "maps": {}}')
    with pytest.raises(DataError, match=r"score\.json: holds scores of several folders"):
        page(run.folder, run.scores, None, 1)
    with pytest.raises(DataError, match="--scenes: is 25"):
        page(run.folder, None, SceneFolders(run.scenes, run.scenes, run.maps), 25)
    (run.folder / "experiment.json").write_text('{"name": "x"}')
    with pytest.raises(ExperimentError, match=r"experiment\.json: is of another .*key \w+ is missing"):
        page(run.folder, None, None, 1)


def test_scores_of_other_maps_are_refused(run, tmp_path):
    folders = SceneFolders(run.scenes, run.scenes, run.maps)
    scores = json.loads(run.scores.read_text())
    known = scores["by_scene"].pop("1")
    run.scores.write_text(json.dumps(scores))
    assert "mIoU" in page(run.folder, run.scores, folders, 3)  # of a part: the others are not shown
    assert [p.id for p in pictures(run.scenes, run.scenes, run.maps, LAND, 3, ["2", "0"])] == ["0", "2"]
    run.scores.write_text(json.dumps(scores | {"by_scene": {"9": known}}))
    with pytest.raises(DataError, match="holds no map of a scored scene; give the folder that was scored"):
        page(run.folder, run.scores, folders, 3)
    run.scores.write_text(json.dumps(scores | {"by_scene": {**scores["by_scene"], "1": known}}))
    labels = read_map(run.maps / "1_mask.png", LAND)
    labels[30, 40] = (labels[30, 40] + 1) % 5
    write_map(run.maps / "1_mask.png", labels, LAND, overwrite=True)
    with pytest.raises(DataError, match=r"holds other scores than those of .*maps/1_mask\.png"):
        page(run.folder, run.scores, folders, 3)
    assert page(run.folder, run.scores, None, 3)


def test_maps_of_other_weights_than_the_runs_are_said_to_be(run):
    """The first 16 digits of SHA-256 stand in a manifest, in the scores of its maps, and on the page."""
    own = hashlib.sha256(b"weights").hexdigest()[:16]
    for weights, said in ((own, False), ("0123456789abcdef", True)):
        (run.maps / "manifests").mkdir(exist_ok=True)
        for id in "012":
            sums = {f"{id}_mask.png": ""}
            manifest = {"id": id, "settings": {"weights": [weights]}, "sha256": sums}
            (run.maps / "manifests" / f"{id}.json").write_text(json.dumps(manifest))
        numbers = as_numbers(evaluate(pair_masks(run.scenes, run.maps, LAND), LAND))
        assert numbers["weights"] == [weights]
        run.scores.write_text(json.dumps(numbers))
        text = page(run.folder, run.scores, None, 1)
        assert (
            f"These are maps of other weights than the run's: SHA-256 {weights}." in html.unescape(text)
        ) == said
    run.scores.write_text(json.dumps({key: value for key, value in numbers.items() if key != "weights"}))
    assert "other weights" not in page(run.folder, run.scores, None, 1)


def test_roads_are_reported_too(run, tmp_path):
    for folder, labels in (("truth", [[0, 1, 1, 0]]), ("maps", [[0, 0, 1, 0]])):
        write_map(tmp_path / "road" / folder / "1_mask.png", np.array(labels, np.uint8), ROAD)
    pairs = pair_masks(tmp_path / "road" / "truth", tmp_path / "road" / "maps", ROAD)
    run.scores.write_text(json.dumps(as_numbers(evaluate(pairs, ROAD))))
    text = page(run.folder, run.scores, None, 1)
    assert "DeepGlobe roads, 1 scene, 4 scored pixels" in text
    assert "No intervals" in text
    assert re.search(r'<th scope="row"><i class="swatch" style="background: #ffffff"></i>road</th>', text)


def test_the_page_says_how_much_of_the_maps_each_class_covers(run):
    scenes = SceneFolders(run.scenes, run.scenes, run.maps)
    table = page(run.folder, run.scores, scenes, 1).partition('id="mapped"')[2].partition("</table>")[0]
    maps = np.concatenate([read_map(path, LAND).ravel() for path in run.maps.glob("*_mask.png")])
    shares = 100 * np.bincount(maps, minlength=6) / maps.size
    assert re.findall(r"</i>(\w+)</th><td>([\d.]+)</td></tr>", table) == [
        (name, f"{share:.2f}") for name, share in zip(LAND.class_names, shares, strict=True)
    ]
    assert "hectares" not in table


def test_maps_that_say_how_large_a_pixel_is_are_measured_in_hectares(tmp_path):
    labels = np.repeat(np.array([[0, 1, 1, 255]], np.uint8), 100, axis=0)
    maps = {"a": write_raster(tmp_path / "a.tif", labels), "b": write_raster(tmp_path / "b.tif", labels)}
    found = {each.name: each for each in mapped_classes(maps, LAND)}
    assert (found["urban"].share, found["agriculture"].share, found["water"].share) == (
        "33.33",
        "66.67",
        "0.00",
    )
    assert found["agriculture"].hectares == "4.00"  # 400 pixels of 10 x 10 m, UTM's scale 0.9996
    write_map(tmp_path / "c_mask.png", labels, LAND)
    assert {each.hectares for each in mapped_classes(maps | {"c": tmp_path / "c_mask.png"}, LAND)} == {""}
