"""Scenes of every kind to maps with a stub net: the right pixels in the right files, or nothing at all."""

import errno
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin

from common.errors import DataError, OutputError
from data_prep.label_files import open_map
from data_prep.read_options import ReadOptions
from inference.loading import TrainedTask
from inference.prediction_manifest import is_finished
from inference.predictor import NormalizedNet, Predictor
from inference.scene_files import ScenePath, find_images
from inference.scene_maps import OutputOptions
from inference.scene_predictor import ScenePredictor
from tests.datasets import LAND, read_map

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
LEARNT = TrainedTask("land", LAND, ("blue", "green", "red"), (0, 0, 0), 1.0)
NOTHING_MORE, AS_IT_IS = OutputOptions(), ReadOptions()
RNG = np.random.default_rng(8)
PLACE = from_origin(500000, 200000, 0.5, 0.5)


class BrightnessNet:
    """Class = brightness of the blue channel in steps of 40, pixel by pixel, as sure as can be."""

    side = 33

    def __call__(self, tiles):
        labels = np.clip(tiles[:, 0] // 40, 0, 5).astype(int)
        return np.moveaxis(np.eye(6, dtype=np.float32)[labels], -1, 1)


def picture(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (H, W) and an image (H, W) that BrightnessNet answers so."""
    labels = RNG.integers(0, 6, (height, width)).astype(np.uint8)
    return labels, labels * 40 + 20


def write_tiff(path, bands: np.ndarray, **options: object) -> None:
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(path, "w", **(profile | {"dtype": bands.dtype} | options)) as file:
        file.write(bands)


@pytest.fixture
def mapped(tmp_path):
    """Return a function that maps one file and gives the folder of maps."""
    out, work = tmp_path / "maps", tmp_path / "maps" / ".work"
    work.mkdir(parents=True)

    def run(path, outputs=NOTHING_MORE, read_options=AS_IT_IS, said=None, net=None):
        predictor = Predictor([NormalizedNet(net or BrightnessNet(), (0, 0, 0), 1.0)])
        log = pytest.fail if said is None else said.append
        predict_scene = ScenePredictor(predictor, LEARNT, out, work, outputs, read_options, {"tile": 33}, log)
        predict_scene(*find_images([path], LAND) if path.exists() else [ScenePath("a", path)])
        assert list(work.iterdir()) == []
        return out

    return run


def labels_in(path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


@pytest.mark.parametrize("size", [(1, 1), (20, 31), (33, 33), (34, 33), (50, 80)])
def test_a_picture_gives_a_mask_in_deepglobes_colours(tmp_path, mapped, size):
    labels, image = picture(*size)
    cv2.imwrite(str(tmp_path / "7_sat.png"), np.repeat(image[..., None], 3, axis=2))
    out = mapped(tmp_path / "7_sat.png")
    assert sorted(path.name for path in out.iterdir()) == [".work", "7_mask.png", "manifests"]
    np.testing.assert_array_equal(read_map(out / "7_mask.png", LAND), labels)


@pytest.mark.parametrize("cloud", [False, True])
def test_a_geotiff_gives_a_class_raster_of_the_same_place(tmp_path, mapped, cloud):
    labels, image = picture(1300, 700)
    write_tiff(tmp_path / "a_sat.tif", np.stack([image] * 3), crs="EPSG:32633", transform=PLACE)
    out = mapped(tmp_path / "a_sat.tif", OutputOptions(cloud=cloud))
    with rasterio.open(out / "a_mask.tif") as file:
        np.testing.assert_array_equal(file.read(1), labels)
        assert (file.crs.to_epsg(), file.transform, file.nodata) == (32633, PLACE, 255)
        assert (file.count, file.dtypes, file.block_shapes) == (1, ("uint8",), [(512, 512)])
        assert file.compression.name == "deflate"
        assert file.overviews(1) == [2, 4]
        colours = [file.colormap(1)[label][:3] for label in range(6)]
        assert colours == list(LAND.palette)
        assert (file.tags()["task"], file.tags()["dataset"]) == ("land", "deepglobe_land")
        assert file.tags()["classes"].startswith("0 urban, 1 agriculture, ")
        layout = file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT")
        assert layout == ("COG" if cloud else None)
    with open_map(out / "a_mask.tif", LAND) as scored:
        np.testing.assert_array_equal(scored.read(slice(0, 1300), slice(0, 700)), labels)


def test_gdal_finds_the_names_of_the_classes(tmp_path, mapped):
    write_tiff(tmp_path / "a.tif", np.stack([picture(9, 9)[1]] * 3))
    out = mapped(tmp_path / "a.tif")
    rasterio.shutil.copy(out / "a_mask.tif", tmp_path / "a.vrt", driver="VRT")
    text = (tmp_path / "a.vrt").read_text()
    names = [line.strip()[10:-11] for line in text.splitlines() if "<Category>" in line]
    assert names == list(LAND.class_names)


@pytest.mark.parametrize("cloud", [False, True])
def test_gdal_reads_the_raster_attribute_table_and_copies_it(tmp_path, mapped, cloud):
    write_tiff(tmp_path / "a.tif", np.stack([picture(9, 9)[1]] * 3))
    out = mapped(tmp_path / "a.tif", OutputOptions(cloud=cloud))
    rasterio.shutil.copy(out / "a_mask.tif", tmp_path / "copy.tif", driver="GTiff")
    table = ElementTree.parse(tmp_path / "copy.tif.aux.xml").find("PAMRasterBand/GDALRasterAttributeTable")
    rows = [[cell.text for cell in row.iterfind("F")] for row in table.iterfind("Row")]
    assert rows[:2] == [["0", "urban", "0", "255", "255"], ["1", "agriculture", "255", "255", "0"]]
    assert [row[1] for row in rows] == list(LAND.class_names)
    usages = [int(field.findtext("Usage")) for field in table.iterfind("FieldDefn")]
    assert usages == [5, 2, 6, 7, 8]  # GFU_MinMax, Name, Red, Green, Blue


@pytest.mark.parametrize("kind", ["nodata", "alpha", "alpha of a picture"])
def test_areas_without_data_stay_so_and_are_filled_for_their_neighbours(tmp_path, mapped, kind):
    labels, image = picture(40, 60)
    image[:, :25] = 0
    expected = labels.copy()
    expected[:, :25] = 255
    bands = np.stack([image] * 3)
    alpha = np.where(bands[:1] > 0, np.uint8(255), np.uint8(0))
    seen = []

    class Watching(BrightnessNet):
        def __call__(self, tiles):
            seen.append(tiles[:, 1].min())
            return super().__call__(tiles)

    read_options = ReadOptions(fill=(104, 117, 124))
    if kind == "nodata":
        write_tiff(tmp_path / "a.tif", bands, nodata=0)
    elif kind == "alpha":
        write_tiff(tmp_path / "a.tif", np.concatenate([bands, alpha]), photometric="RGB", alpha="YES")
    else:
        cv2.imwrite(str(tmp_path / "a.png"), np.concatenate([bands, alpha]).transpose(1, 2, 0))
        out = mapped(tmp_path / "a.png", OutputOptions(raster=True), read_options, net=Watching())
    if kind != "alpha of a picture":
        out = mapped(tmp_path / "a.tif", OutputOptions(), read_options, net=Watching())
    np.testing.assert_array_equal(labels_in(out / "a_mask.tif"), expected)
    assert min(seen) >= 20  # no black reached the net
    record = json.loads((out / "manifests" / "a.json").read_text())
    assert record["pixels"]["no data"] == 40 * 25
    assert sum(record["pixels"].values()) == labels.size


def test_probabilities_and_confidence_are_exact_at_0_and_1(tmp_path, mapped):
    labels, image = picture(30, 40)
    image[0, 0] = 0
    write_tiff(tmp_path / "a.tif", np.stack([image] * 3), nodata=0, crs="EPSG:32633", transform=PLACE)
    out = mapped(tmp_path / "a.tif", OutputOptions(probabilities=True, confidence=True))
    with rasterio.open(out / "a_probabilities.tif") as file:
        stored, scale = file.read(), file.scales[0]
        assert file.descriptions == LAND.class_names
        assert (file.transform, file.nodata) == (PLACE, 255)
    expected = np.moveaxis(np.eye(6)[labels], -1, 0)
    expected[:, 0, 0] = np.nan
    valid = stored != 255
    np.testing.assert_array_equal(valid, ~np.isnan(expected))
    np.testing.assert_array_equal(stored[valid] * scale, expected[valid])  # as a GIS reads it
    confidence = labels_in(out / "a_confidence.tif")
    assert (confidence.flat[0], set(confidence.flat[1:])) == (255, {254})


def test_a_probability_between_is_kept_to_half_a_step(tmp_path, mapped):
    class Soft(BrightnessNet):
        def __call__(self, tiles):
            share = tiles[:, :1] / 255
            return np.concatenate([share, 1 - share, *[share * 0] * 4], axis=1)

    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    out = mapped(tmp_path / "a.png", OutputOptions(probabilities=True), net=Soft())
    with rasterio.open(out / "a_probabilities.tif") as file:
        stored = file.read(1)
    assert stored.max() == 254
    assert np.abs(stored / 254 - values / 255).max() <= 1 / 508 + 1e-6


@pytest.mark.parametrize("kind", ["tif", "png"])
def test_16_bits_are_stretched_as_told_and_said(tmp_path, mapped, kind):
    labels, image = picture(40, 60)
    deep = image.astype(np.uint16) * 10 + 500  # 0 is 500, 255 is 3050
    path = tmp_path / f"a.{kind}"
    if kind == "tif":
        write_tiff(path, np.stack([deep] * 3))
    else:
        cv2.imwrite(str(path), np.repeat(deep[..., None], 3, axis=2))
    said = []
    out = mapped(path, OutputOptions(raster=True), ReadOptions(stretch=(500, 3050)), said)
    np.testing.assert_array_equal(labels_in(out / "a_mask.tif"), labels)
    assert "uint16 stretched to 0-255: 500 to 3050" in said[0]
    with rasterio.open(out / "a_mask.tif") as file:
        assert "500 to 3050" in file.tags()["input"]


def test_without_a_stretch_the_percentiles_of_each_band_are_taken(tmp_path, mapped):
    ramp = np.linspace(1000, 2000, 101 * 50).reshape(101, 50)
    bands = np.stack([ramp, ramp * 2, ramp * 0 + 7]).astype(np.float32)
    bands[:, 0, 0] = np.nan
    write_tiff(tmp_path / "a.tif", bands)
    said = []
    out = mapped(tmp_path / "a.tif", OutputOptions(), ReadOptions(), said)
    low, high = np.percentile(ramp.flat[1:], (2, 98))
    assert f"7 to 7, {2 * low:g} to {2 * high:g}, {low:g} to {high:g} (blue, green, red)" in said[0]
    assert labels_in(out / "a_mask.tif")[0, 0] == 255  # no number, no data


@pytest.mark.parametrize("kind", ["grey", "grey and alpha", "palette", "five bands", "three bands"])
def test_other_arrangements_of_bands(tmp_path, mapped, kind):
    labels, image = picture(40, 60)
    path, other = tmp_path / "a.tif", np.full_like(image, 77)
    read_options = ReadOptions()
    if kind == "grey":
        write_tiff(path, image[None])
    elif kind == "grey and alpha":
        write_tiff(path, np.stack([image, other]), photometric="MINISBLACK", alpha="YES")
    elif kind == "palette":
        with rasterio.open(path, "w", driver="GTiff", height=40, width=60, count=1, dtype="uint8") as file:
            file.write_colormap(1, {n: (200, 200, n * 40 + 20) for n in range(6)})
            file.write(labels[None])
    elif kind == "five bands":
        write_tiff(path, np.stack([other, image, other, other, other]))
        with pytest.raises(DataError, match=r"a\.tif: has 5 bands .*--bands"):
            mapped(path)
        read_options = ReadOptions(numbers=(1, 3, 2))
    else:
        write_tiff(path, np.stack([other, other, image]), photometric="MINISBLACK")
    out = mapped(path, OutputOptions(), read_options)
    np.testing.assert_array_equal(labels_in(out / "a_mask.tif"), labels)


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda path: write_tiff(path, np.ones((2, 9, 9), np.uint8)), "has 2 bands"),
        (lambda path: write_tiff(path, np.ones((3, 9, 9), np.complex64)), "has bands of complex64"),
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "is damaged"),
        (lambda path: path.write_bytes(b"II*\0nonsense"), "is not a GeoTIFF"),
        (lambda path: path.write_bytes(b""), "starts with b'', neither JPEG nor PNG"),
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: os.chmod(path, 0) if os.geteuid() else path.unlink(), "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named_and_leaves_nothing(tmp_path, mapped, harm, words):
    path = tmp_path / "a_sat.tif"
    write_tiff(path, RNG.integers(0, 255, (3, 200, 200), np.uint8))
    harm(path)
    with pytest.raises(DataError, match=rf"a_sat\.tif: {words}"):
        mapped(path)
    assert [path.name for path in (tmp_path / "maps").rglob("*")] == [".work"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, mapped, monkeypatch):
    write_tiff(tmp_path / "a.tif", RNG.integers(0, 255, (3, 200, 200), np.uint8))

    def full(*_: object, **__: object) -> None:
        raise rasterio.errors.RasterioIOError("No space left on device")

    monkeypatch.setattr(rasterio.io.DatasetWriter, "write", full, raising=False)
    with pytest.raises(OutputError, match=r"a_mask\.tif: cannot be written \(No space left"):
        mapped(tmp_path / "a.tif")
    assert [path.name for path in (tmp_path / "maps").rglob("*")] == [".work"]


def test_what_gdal_says_of_ground_control_points_is_kept(tmp_path, mapped):
    corners = [(0, 0), (0, 9), (9, 0), (9, 9)]
    points = [GroundControlPoint(r, c, 13 + c / 1e4, 50 - r / 1e4) for r, c in corners]
    write_tiff(tmp_path / "a.tif", np.stack([picture(9, 9)[1]] * 3), gcps=points, crs="EPSG:4326")
    out = mapped(tmp_path / "a.tif")
    with rasterio.open(out / "a_mask.tif") as file:
        kept, crs = file.gcps
    assert [(p.row, p.col, p.x, p.y) for p in kept] == [(p.row, p.col, p.x, p.y) for p in points]
    assert crs.to_epsg() == 4326


def statistics(path) -> None:
    """Have GDAL write statistics beside a raster, as QGIS does when it shows it."""
    with rasterio.open(path) as file:
        file.stats(approx=False) if hasattr(file, "stats") else file.statistics(1)


def test_what_qgis_writes_beside_a_map_changes_nothing_of_it(tmp_path, mapped):
    _, image = picture(60, 50)
    write_tiff(tmp_path / "a_sat.tif", np.stack([image] * 3), crs="EPSG:32633", transform=PLACE)
    out = mapped(tmp_path / "a_sat.tif")
    names = out / "a_mask.tif.aux.xml"
    before = names.read_text()
    statistics(out / "a_mask.tif")
    assert "STATISTICS_MEAN" in names.read_text()
    settings = {"tile": 33}
    given = ("a", tmp_path / "a_sat.tif", NOTHING_MORE.names("a", True), settings)
    assert is_finished(out, *given, overwrite=False)
    names.write_text(before.replace("urban", "somebody else's"))
    with pytest.raises(OutputError, match=r"a_mask\.tif\.aux\.xml: exists already, and no manifest"):
        is_finished(out, *given, overwrite=False)
    names.write_text("<PAMDataset")
    with pytest.raises(OutputError, match=r"a_mask\.tif\.aux\.xml: exists already, and no manifest"):
        is_finished(out, *given, overwrite=False)


def test_overviews_and_statistics_of_a_replaced_map_go_with_it(tmp_path, mapped):
    _, image = picture(60, 50)
    write_tiff(tmp_path / "a_sat.tif", np.stack([image] * 3), crs="EPSG:32633", transform=PLACE)
    outputs = OutputOptions(confidence=True)
    out = mapped(tmp_path / "a_sat.tif", outputs)
    for name in ("a_mask.tif.ovr", "a_confidence.tif.aux.xml", "a_confidence.tif.ovr"):
        (out / name).write_bytes(b"of the old map")
    (out / "b_mask.tif.ovr").write_bytes(b"of another")
    mapped(tmp_path / "a_sat.tif", outputs)
    kept = ["a_confidence.tif", "a_mask.tif", "a_mask.tif.aux.xml", "b_mask.tif.ovr"]
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == kept
    (out / "a_confidence.tif.aux.xml").write_bytes(b"of the old map")
    mapped(tmp_path / "a_sat.tif")
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == kept[1:]


def test_a_disk_that_fills_up_with_the_names_of_classes_is_named(tmp_path, mapped, monkeypatch):
    _, image = picture(60, 50)
    write_tiff(tmp_path / "a_sat.tif", np.stack([image] * 3), crs="EPSG:32633", transform=PLACE)
    real = Path.write_text

    def full(path, *arguments, **options):
        if ".aux.xml" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"a_mask\.tif\.aux\.xml: cannot be written \(No space left"):
        mapped(tmp_path / "a_sat.tif")
    assert [path.name for path in (tmp_path / "maps").rglob("*")] == [".work"]


class AlmostEvenNet:
    """Says class 4 with the least probability that is more than those of the others."""

    side = 33

    def __call__(self, tiles):
        answer = np.full((len(tiles), 6, 33, 33), np.float32(1 / 6))
        answer[:, 4] = np.nextafter(np.float32(1 / 6), np.float32(1))
        return answer


def test_a_temperature_changes_no_class_even_where_two_become_equal(tmp_path):
    """At 50 the scaled probabilities are all equal in 32 bits, and the first would be the likeliest."""
    work = tmp_path / "maps" / ".work"
    work.mkdir(parents=True)
    write_tiff(tmp_path / "a.tif", np.zeros((3, 20, 30), np.uint8))
    net, outputs = Predictor([NormalizedNet(AlmostEvenNet(), (0, 0, 0), 1.0)]), OutputOptions(confidence=True)
    predict_scene = ScenePredictor(
        net, LEARNT, tmp_path / "maps", work, outputs, AS_IT_IS, {}, pytest.fail, temperature=50.0
    )
    predict_scene(ScenePath("a", tmp_path / "a.tif"))
    assert (labels_in(tmp_path / "maps" / "a_mask.tif") == 4).all()
    assert (labels_in(tmp_path / "maps" / "a_confidence.tif") == round(254 / 6)).all()
