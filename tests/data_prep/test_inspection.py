"""A database is checked against its manifest, and every difference is named."""

import hashlib
import json

import cv2
import lmdb
import numpy as np
import pytest

from common.errors import DataError
from data_prep.inspection import _legend, check_database, contact_sheet
from data_prep.lmdb_writer import write_database
from data_prep.scenes import find_scenes
from prototxt_gen.caffe_proto import caffe_pb2
from tests.datasets import LAND, ROAD, config

pytestmark = pytest.mark.caffe
SIDE = 41


@pytest.fixture(params=["raw", "png"])
def database(tmp_path, request):
    (tmp_path / "scenes").mkdir()
    for number in range(3):
        mask = np.zeros((120, 120), np.uint8)
        mask[:60] = 255
        cv2.imwrite(str(tmp_path / "scenes" / f"{number}_sat.png"), np.full((120, 120, 3), 40, np.uint8))
        cv2.imwrite(str(tmp_path / "scenes" / f"{number}_mask.png"), mask)
    made = config("road", 33, SIDE - 33, 2, 1, encode=request.param)
    write_database(find_scenes([tmp_path / "scenes"], ROAD), made, tmp_path / "db")
    return tmp_path / "db"


def rewrite(database, change, honest: bool = True) -> None:
    """Change the entries (key -> Datum bytes), and tell the manifest the new checksum if `honest`."""
    with lmdb.open(str(database), lock=False) as environment, environment.begin(write=True) as writing:
        for key, value in list(writing.cursor()):
            for new_key, new_value in change(key.decode(), value):
                writing.delete(key)
                writing.put(new_key.encode(), new_value)
    if honest:
        edit(database, data_mdb_sha256=hashlib.sha256((database / "data.mdb").read_bytes()).hexdigest())


def edit(database, **changes) -> None:
    manifest = json.loads((database / "manifest.json").read_text()) | changes
    (database / "manifest.json").write_text(json.dumps(manifest))


def record(labels: np.ndarray) -> bytes:
    data = np.concatenate([np.zeros((3, *labels.shape), np.uint8), labels[None]]).tobytes()
    datum = caffe_pb2().Datum(channels=4, height=labels.shape[0], width=labels.shape[1], data=data)
    return datum.SerializeToString()


def test_a_database_is_as_its_manifest_says(database):
    found = check_database(database)
    manifest = json.loads((database / "manifest.json").read_text())
    assert found.records == 6
    assert found.pixels == manifest["pixels"]
    assert sum(found.pixels.values()) == 6 * SIDE**2


@pytest.mark.parametrize(
    ("value", "fact"),
    [
        (record(np.full((SIDE, SIDE), 2, np.uint8)), "label 2 is not a class of deepglobe_road"),
        (record(np.zeros((SIDE, SIDE - 1), np.uint8)), "has shape (4, 41, 40), not (4, 41, 41)"),
        (b"\xff\xff\xff", "is not a Datum"),
        (caffe_pb2().Datum(channels=4, height=41, width=41, data=b"x").SerializeToString(), "holds 1 byte"),
        (caffe_pb2().Datum(encoded=True, data=b"x").SerializeToString(), "cannot be decoded"),
    ],
)
def test_a_wrong_record_is_named(database, value, fact):
    rewrite(database, lambda key, old: [(key, value if key.startswith("00000003") else old)])
    with pytest.raises(DataError) as caught:
        check_database(database)
    assert "record 00000003_" in caught.value.where
    assert fact in caught.value.fact


def test_wrong_keys_and_counts_are_named(database):
    rewrite(database, lambda key, old: [(key.replace("00000002_", "00000002_x"), old)])
    with pytest.raises(DataError, match=r"00000002_x.*that its manifest does not have"):
        check_database(database)
    rewrite(database, lambda key, old: [] if "_x" not in key else [("00000009_0_0", old)])
    edit(database, records=5)
    with pytest.raises(DataError, match="holds 6 records, its manifest says 5"):
        check_database(database)


def test_other_pixels_than_the_manifest_counts_are_named(database):
    edit(database, pixels={"background": 1, "road": 2, "ignored": 3})
    with pytest.raises(DataError, match=r"its manifest says \{'background': 1"):
        check_database(database)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_refused_before_lmdb_maps_it(database, share):
    data = (database / "data.mdb").read_bytes()
    (database / "data.mdb").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"data\.mdb: is not the file that the manifest describes"):
        check_database(database)


@pytest.mark.parametrize("name", ["data.mdb", "manifest.json"])
def test_a_missing_file_is_named(database, name):
    (database / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: cannot be read"):
        check_database(database)


def test_a_manifest_without_its_entries_is_named(database):
    (database / "manifest.json").write_text('{"side": 41, "classes": ["background", "road"]}')
    with pytest.raises(DataError, match="lacks records, pixels"):
        check_database(database)


def test_the_sheet_shows_each_crop_beside_its_labels(database):
    sheet = contact_sheet(database, 4)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (256 + 22 + 4 + 22, 4 * (2 * 256 + 4), 3)
    for left in range(0, sheet.shape[1], 2 * 256 + 4):
        crop, labelled = np.split(sheet[24:280, left + 2 : left + 514], 2, axis=1)
        assert (crop == 40).all()
        assert {*np.unique(labelled)} <= {0, 255}  # background, roads: nothing of the image shines through
    assert (sheet[-22 + 10, 6:20] == 0).all()  # background's


def test_the_legend_shows_each_colour_and_hatches_what_is_ignored():
    legend = _legend(LAND, 516)[..., ::-1]
    pixels = {tuple(pixel) for pixel in legend.reshape(-1, 3).tolist()}
    assert pixels >= {*LAND.palette, LAND.ignored_colour, (160, 0, 0)}
    assert legend.shape == (2 * 22, 516, 3)  # seven names do not fit in one line


def test_a_sheet_of_no_crops_is_refused(database):
    with pytest.raises(DataError, match="--crops: is 0"):
        contact_sheet(database, 0)
