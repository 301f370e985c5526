"""A scene is done if its files are there, whole, and made as now asked; all else is to do, or refused."""

import hashlib

import pytest

from common.errors import OutputError
from inference.prediction_manifest import is_finished, publish

SETTINGS = {"tile": 33, "scales": [0.5, 1.0], "stretch": None}
NAMES = ["7_mask.png", "7_confidence.tif"]


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "7_sat.png"
    path.write_bytes(b"pixels")
    return path


def make(tmp_path, names=NAMES, settings=SETTINGS, image="another", content=b"map"):
    """Publish files as a run does; return the folder of maps."""
    out, work = tmp_path / "maps", tmp_path / "maps" / "work"
    work.mkdir(parents=True, exist_ok=True)
    for name in names:
        (work / name).write_bytes(content)
    publish(out, work, "7", names, settings | {"image": image})
    assert list(work.iterdir()) == []
    return out


@pytest.fixture
def out(tmp_path, image):
    return make(tmp_path, image=hashlib.sha256(b"pixels").hexdigest()[:16])


def test_what_was_made_so_is_finished(out, image):
    assert is_finished(out, "7", image, NAMES, SETTINGS, overwrite=False)
    assert not is_finished(out, "7", image, NAMES, SETTINGS, overwrite=True)
    assert not is_finished(out, "8", image, ["8_mask.png"], SETTINGS, overwrite=False)


@pytest.mark.parametrize("gone", NAMES)
def test_a_kill_between_two_renames_is_work_to_do_again(out, image, gone):
    (out / gone).unlink()
    assert not is_finished(out, "7", image, NAMES, SETTINGS, overwrite=False)


def test_a_record_without_any_file_is_no_map(out, image):
    for name in NAMES:
        (out / name).unlink()
    assert not is_finished(out, "7", image, NAMES, SETTINGS | {"tile": 65}, overwrite=False)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"tile": 65}, "tile 33, now it is 65"),
        ({"scales": [1.0]}, "scales 0.5 1.0, now it is 1.0"),
        ({"stretch": [0, 9]}, "stretch None, now it is 0 9"),
        ({"backend": "other"}, "backend None, now it is other"),
    ],
)
def test_another_setting_is_refused_with_both_values(out, image, change, words):
    with pytest.raises(OutputError, match=f"was made with {words}; give --overwrite"):
        is_finished(out, "7", image, NAMES, SETTINGS | change, overwrite=False)


def test_maps_of_other_classes_are_refused_and_where_none_were_noted_nothing_is(tmp_path, image, out):
    """Version 1.0 noted none."""
    now = SETTINGS | {"classes": ["urban #00ffff", "water #0000ff"]}
    assert is_finished(out, "7", image, NAMES, now, overwrite=False)
    checksum = hashlib.sha256(b"pixels").hexdigest()[:16]
    make(tmp_path, image=checksum, settings=SETTINGS | {"classes": ["urban #00ffff", "forest #00ff00"]})
    with pytest.raises(OutputError, match=r"was made with classes .*forest.* now it is .*water"):
        is_finished(out, "7", image, NAMES, now, overwrite=False)


def test_another_image_is_refused(out, image):
    image.write_bytes(b"other pixels")
    with pytest.raises(OutputError, match=r"was made with image [0-9a-f]{16}, now it is [0-9a-f]{16}"):
        is_finished(out, "7", image, NAMES, SETTINGS, overwrite=False)


@pytest.mark.parametrize("harm", ["changed", "no record", "broken record", "deep", "somebody else's"])
def test_a_file_that_no_record_tells_of_is_never_replaced(out, image, harm):
    record = out / "manifests" / "7.json"
    if harm == "changed":
        (out / "7_mask.png").write_bytes(b"ma")
    elif harm == "no record":
        record.unlink()
    elif harm == "broken record":
        record.write_text(record.read_text()[:50])
    elif harm == "deep":
        record.write_text("[" * 100_000)
    else:
        record.write_text('{"settings": {}, "sha256": []}')
    with pytest.raises(OutputError, match="exists already, and no manifest says how it was made"):
        is_finished(out, "7", image, NAMES, SETTINGS, overwrite=False)


def test_manifests_in_the_folder_of_version_1_are_read_and_move_as_scenes_are_mapped_again(
    tmp_path, out, image
):
    (out / "manifests").rename(out / "records")
    (out / "records" / "8.json").write_text("{}")
    assert is_finished(out, "7", image, NAMES, SETTINGS, overwrite=False)
    with pytest.raises(OutputError, match="was made with tile 33, now it is 65"):
        is_finished(out, "7", image, NAMES, SETTINGS | {"tile": 65}, overwrite=False)
    make(tmp_path, ["7_mask.tif"])
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["7_mask.tif"]
    assert [path.name for path in (out / "records").iterdir()] == ["8.json"]
    (out / "records" / "8.json").rename(out / "records" / "7.json")
    (out / "manifests" / "7.json").unlink()
    make(tmp_path, ["7_mask.tif"])
    assert not (out / "records").exists()


def test_files_of_an_older_kind_go_but_only_our_own(tmp_path, out):
    (out / "7_confidence.tif").write_bytes(b"somebody's")
    make(tmp_path, ["7_mask.tif"])
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["7_confidence.tif", "7_mask.tif"]
