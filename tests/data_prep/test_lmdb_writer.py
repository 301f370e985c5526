"""Databases hold every record once, in shuffled order, byte for byte the same each time."""

import hashlib
import json
import shutil
from dataclasses import replace

import cv2
import lmdb
import numpy as np
import pytest

from common.errors import DataError, ExperimentError, OutputError
from data_prep import growing_lmdb, lmdb_writer, scene_pixels
from data_prep.lmdb_writer import write_database
from data_prep.manifest import read_manifest
from data_prep.records import make_record
from data_prep.scenes import find_scenes
from prototxt_gen.caffe_proto import caffe_pb2
from tests.datasets import ROAD, ArrayScene, config

pytestmark = pytest.mark.caffe
CONFIG = config("road", crop=33, margin=7, variants=3, seed=4)


@pytest.fixture
def scenes(tmp_path):
    rng = np.random.default_rng(8)
    folder = tmp_path / "scenes"
    folder.mkdir()
    for id in ("a", "b", "c", "d"):
        mask = np.zeros((70, 60), np.uint8)
        mask[rng.integers(5, 60) :][:6] = 255
        cv2.imwrite(str(folder / f"{id}_sat.png"), rng.integers(0, 256, (70, 60, 3), np.uint8))
        cv2.imwrite(str(folder / f"{id}_mask.png"), mask)
    return find_scenes([folder], ROAD)


def entries(database) -> dict[str, bytes]:
    with lmdb.open(str(database), readonly=True, lock=False) as environment, environment.begin() as reading:
        return {bytes(key).decode(): bytes(value) for key, value in reading.cursor()}


def test_every_record_is_there_once_and_as_make_record_made_it(tmp_path, scenes):
    database = write_database(scenes, CONFIG, tmp_path / "db")
    held = entries(tmp_path / "db")
    assert database.records == len(held) == 12
    assert [int(key[:8]) for key in held] == list(range(12))  # LMDB's order is the order of the numbers
    assert {key[9:] for key in held} == {f"{id}_{variant}" for id in "abcd" for variant in range(3)}
    for key, value in held.items():
        datum = caffe_pb2().Datum.FromString(value)
        id, variant = key[9:].split("_")
        image = cv2.imread(str(tmp_path / "scenes" / f"{id}_sat.png"))
        labels = cv2.imread(str(tmp_path / "scenes" / f"{id}_mask.png"), cv2.IMREAD_GRAYSCALE) // 255
        assert (datum.channels, datum.height, datum.width, datum.encoded) == (4, 40, 40, False)
        assert datum.data == make_record(ArrayScene(image, labels), id, int(variant), CONFIG).tobytes()


def test_scenes_are_shuffled_by_the_seed(tmp_path, scenes):
    orders = []
    for seed in (1, 2):
        write_database(scenes, config("road", 33, 0, 3, seed), tmp_path / f"db{seed}")
        orders.append([key[9:] for key in entries(tmp_path / f"db{seed}")])
    assert orders[0] != orders[1]
    assert all(order != sorted(order) for order in orders)


def test_the_same_seed_gives_the_same_bytes(tmp_path, scenes, monkeypatch):
    monkeypatch.setattr(growing_lmdb, "COMMIT_BYTES", 20000)  # several transactions
    for name in ("one", "two"):
        write_database(scenes, CONFIG, tmp_path / name)
    for file in ("data.mdb", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("encode", ["raw", "png"])
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, scenes, monkeypatch, encode):
    monkeypatch.setattr(growing_lmdb, "COMMIT_BYTES", 50000)
    monkeypatch.setattr(lmdb_writer, "JOB_RECORDS", 3)  # a scene is made in several jobs
    made = replace(CONFIG, variants=7, encode=encode, rotate=True, class_aware=True)
    files = []
    for workers in (None, 1, 2, 4):
        write_database(scenes, made, tmp_path / f"db{workers}", workers=workers)
        files.append([path.read_bytes() for path in sorted((tmp_path / f"db{workers}").iterdir())])
    assert all(written == files[0] for written in files[1:])


def test_png_records_hold_the_same_pixels_as_raw_ones(tmp_path, scenes):
    for encode in ("raw", "png"):
        write_database(scenes, replace(CONFIG, encode=encode), tmp_path / encode)
    raw, png = entries(tmp_path / "raw"), entries(tmp_path / "png")
    assert list(raw) == list(png)
    for key in raw:
        datum = caffe_pb2().Datum.FromString(png[key])
        picture = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert datum.encoded
        assert picture.transpose(2, 0, 1).tobytes() == caffe_pb2().Datum.FromString(raw[key]).data


def test_the_size_is_told_before_the_work(tmp_path, scenes):
    lines = []
    database = write_database(scenes, CONFIG, tmp_path / "db", log=lines.append)
    [line] = lines
    assert f"about {database.size / 1e6:,.1f} MB to write" in line


def test_a_database_stays_though_nobody_reads_what_is_said_of_its_images(tmp_path, scenes):
    deep = np.random.default_rng(1).integers(0, 65536, (70, 60, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "scenes" / "a_sat.png"), deep)
    lines = []

    def head(line: str) -> None:
        if lines:
            raise BrokenPipeError(32, "Broken pipe")
        lines.append(line)

    with pytest.raises(BrokenPipeError):
        write_database(scenes, CONFIG, tmp_path / "db", log=head)
    assert read_manifest(tmp_path / "db")["records"] == len(entries(tmp_path / "db")) == 12


def test_a_disk_without_room_is_named_before_the_work(tmp_path, scenes, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10000))
    with pytest.raises(OutputError, match=r"db: needs about 0\.1 MB, 0\.0 MB are free"):
        write_database(scenes, CONFIG, tmp_path / "db")
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_a_disk_that_fails_in_a_scene_is_not_said_of_the_output(tmp_path, scenes, monkeypatch):
    """In a worker process it would be a DataError as well, which passes through the pipe as it is."""

    def failing(path, read_options):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(scene_pixels, "open_image", failing)
    with pytest.raises(DataError, match=r"a_sat\.png: cannot be read \(Input/output error\)"):
        write_database(scenes, CONFIG, tmp_path / "db")
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_the_manifest_names_code_and_libraries(tmp_path, scenes):
    write_database(scenes, CONFIG, tmp_path / "db")
    manifest = read_manifest(tmp_path / "db")
    assert len(manifest["code_sha256"]) == 64
    assert manifest["versions"]["opencv-python-headless"].startswith(cv2.__version__)
    assert (manifest["encode"], manifest["rotate"], manifest["class_aware"]) == ("raw", False, False)


def test_the_manifest_says_what_is_inside(tmp_path, scenes):
    write_database(scenes, CONFIG, tmp_path / "db", split={"hold_out": 5, "part": "train"})
    manifest = read_manifest(tmp_path / "db")
    labels = np.concatenate(
        [
            np.frombuffer(caffe_pb2().Datum.FromString(value).data, np.uint8)[-1600:]
            for value in entries(tmp_path / "db").values()
        ]
    )
    expected = {"background": 0, "road": 1, "ignored": 255}
    assert manifest["pixels"] == {name: int((labels == label).sum()) for name, label in expected.items()}
    assert sum(manifest["shares"].values()) == pytest.approx(1)
    assert manifest["records"] == 12
    assert {name: manifest[name] for name in ("crop", "margin", "side", "variants", "seed", "bands")} == {
        "crop": 33,
        "margin": 7,
        "side": 40,
        "variants": 3,
        "seed": 4,
        "bands": ["blue", "green", "red"],
    }
    assert manifest["dataset"] == ROAD
    assert manifest["split"] == {"hold_out": 5, "part": "train"}
    assert [entry["id"] for entry in manifest["inputs"]] == ["a", "b", "c", "d"]
    first = manifest["inputs"][0]
    assert first["image_sha256"] == hashlib.sha256(scenes[0].image.read_bytes()).hexdigest()
    assert first["mask_sha256"] == hashlib.sha256(scenes[0].mask.read_bytes()).hexdigest()
    data = (tmp_path / "db" / "data.mdb").read_bytes()
    assert manifest["data_mdb_sha256"] == hashlib.sha256(data).hexdigest()


def test_a_scene_that_fails_late_leaves_nothing_behind(tmp_path, scenes):
    last = scenes[-1].image
    last.write_bytes(last.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"d_sat\.png: is cut off"):
        write_database(scenes, CONFIG, tmp_path / "db")
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_a_failure_leaves_the_old_database_as_it_was(tmp_path, scenes):
    write_database(scenes, CONFIG, tmp_path / "db")
    before = entries(tmp_path / "db")
    scenes[2].mask.unlink()
    with pytest.raises(DataError, match=r"c_mask\.png: cannot be read"):
        write_database(scenes, CONFIG, tmp_path / "db", overwrite=True)
    assert entries(tmp_path / "db") == before
    with pytest.raises(OutputError, match="exists already"):
        write_database(scenes, CONFIG, tmp_path / "db")


def test_overwrite_replaces_a_database(tmp_path, scenes):
    write_database(scenes, CONFIG, tmp_path / "db")
    write_database(scenes[:1], CONFIG, tmp_path / "db", overwrite=True)
    assert len(entries(tmp_path / "db")) == 3
    assert sorted(path.name for path in (tmp_path / "db").iterdir()) == ["data.mdb", "manifest.json"]


def test_a_full_disk_is_a_named_error(tmp_path, scenes, monkeypatch):
    def full(*_):
        raise lmdb.DiskError("mdb_put: No space left on device")

    monkeypatch.setattr(growing_lmdb.GrowingLMDB, "put", full)
    with pytest.raises(OutputError, match=r"db: cannot be written \(mdb_put: No space left"):
        write_database(scenes, CONFIG, tmp_path / "db")
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


@pytest.mark.parametrize("encode", ["raw", "png"])
def test_caffe_reads_it_with_image_and_label_together(tmp_path, scenes, encode):
    """Caffe's Data layer crops the record's four channels at one place."""
    import caffe

    write_database(scenes, replace(CONFIG, encode=encode), tmp_path / "db")
    net_file = tmp_path / "net.prototxt"
    net_file.write_text(f"""
        layer {{ name: "data" type: "Data" top: "data"
          data_param {{ source: {json.dumps(str(tmp_path / "db"))} batch_size: 12 backend: LMDB }}
          transform_param {{ crop_size: 33 }} }}
    """)
    net = caffe.Net(str(net_file), caffe.TEST)
    net.forward()
    write_database(scenes, CONFIG, tmp_path / "raw")
    records = [caffe_pb2().Datum.FromString(value).data for value in entries(tmp_path / "raw").values()]
    expected = np.array([np.frombuffer(data, np.uint8).reshape(4, 40, 40) for data in records])
    assert (net.blobs["data"].data == expected[:, :, 3:36, 3:36]).all()  # TEST crops the centre


def test_a_manifest_of_version_1_has_the_data_set_whose_classes_it_names(tmp_path):
    old = {"format": 1, "task": "road", "side": 40, "classes": ["background", "road"]}
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    manifest = read_manifest(tmp_path)
    assert (manifest["dataset"], manifest["bands"]) == (ROAD, ("blue", "green", "red"))
    (tmp_path / "manifest.json").write_text(json.dumps(old | {"stretch": [500, 1900]}))
    assert read_manifest(tmp_path)["dataset"].stretch == (500, 1900)
    (tmp_path / "manifest.json").write_text(json.dumps(old | {"classes": ["ice", "ship"]}))
    found = (
        r"manifest\.json: is of version 1\.0, and no file of datasets/ has its classes ice, ship; write in"
    )
    with pytest.raises(ExperimentError, match=found):
        read_manifest(tmp_path)
