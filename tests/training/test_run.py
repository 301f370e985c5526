"""A run is refused before its folder is made where Caffe would end the process later."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.errors import DataError, ExperimentError, OutputError, RunError, WeightsError
from prototxt_gen.caffemodel import write_caffemodel
from prototxt_gen.experiment import read_experiment
from prototxt_gen.model_card import ModelCard, write_card
from prototxt_gen.models import TRAIN, build
from tests.conftest import write_lmdb
from tests.datasets import DATASETS, LAND, ROAD, changed
from training.provenance import initial_weights
from training.run import check_data, gpu_numbers, open_run, overlapping_scenes
from training.weights import Coverage, match_weights

pytestmark = pytest.mark.caffe


def edit_manifest(folder, database="land_lmdb", **changes):
    path = folder / database / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"dataset": ROAD.model_dump(mode="json")},
            r"land_lmdb: has 2 classes \(background, road\), not 6 .*; give a database of deepglobe_land",
        ),
        (
            {"side": 30},
            "land_lmdb: holds records of 30 pixels, the crop is 33; build it with dfcnet build-lmdb",
        ),
        (
            {"bands": ["nir", "red", "green"]},
            "land_lmdb: holds the bands nir, red, green, the experiment has blue",
        ),
        (
            {"mean": [104.0, 116.78, 123.68]},
            r"land_lmdb: is filled with 104\.0 116\.78 123\.68 where a scene ends, the experiment has mean",
        ),
        (
            {"dataset": changed(LAND, resize=[0.5, 2]).model_dump(mode="json")},
            r"land_lmdb: was built when deepglobe_land had resize = \[0\.5, 2\], now it is \[0\.8",
        ),
        (
            {"dataset": changed(LAND, tolerance=5).model_dump(mode="json")},
            "land_lmdb: was built when deepglobe_land had tolerance = 5, now it is 64; build it",
        ),
        ({"format": 7}, r"manifest\.json: is a manifest of format 7, not 2"),
        (
            {"pixels": {"water": 0, "ignored": 99}},
            "land_lmdb: has no pixel of a class of deepglobe_land: nothing could be learnt",
        ),
    ],
)
def test_a_database_that_does_not_fit_is_refused(tiny, tmp_path, changes, words):
    edit_manifest(tmp_path, **changes)
    with pytest.raises(DataError, match=words):
        check_data(read_experiment(tiny))


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_database_on_a_file_system_without_locks_is_refused_and_nothing_is_left(
    tiny, tmp_path, monkeypatch, number
):
    """Caffe's LMDB would end the process."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    for lock in tmp_path.glob("*_lmdb/lock.mdb"):
        lock.unlink()
    exp = read_experiment(tiny)
    with monkeypatch.context() as without:
        without.setattr(fcntl, "lockf", refuse)
        with pytest.raises(DataError, match=r"^land_lmdb: is on a file system without locks \("):
            open_run(exp, tmp_path / "run", ranks=1, gpu=False)
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob("*_lmdb/lock.mdb"))
    monkeypatch.setattr(fcntl, "lockf", lambda *_: os.open(tmp_path / "none", os.O_RDONLY))
    check_data(exp)  # what else is wrong with a lock, Caffe reads without it


def test_a_missing_database_is_refused_with_the_command_that_makes_it(tiny, tmp_path):
    (tmp_path / "road_lmdb" / "data.mdb").unlink()
    with pytest.raises(
        DataError,
        match=r"road_lmdb: is not an LMDB; build it with dfcnet build-lmdb EXPERIMENT road --images DIR",
    ):
        check_data(read_experiment(tiny))


def test_a_run_folder_holds_what_trains(tiny, tmp_path):
    open_run(read_experiment(tiny), tmp_path / "run", ranks=1, gpu=False)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "deploy.prototxt",
        "experiment.json",
        "provenance.json",
        "snapshots",
        "solver.prototxt",
        "train.prototxt",
    ]
    solver = (tmp_path / "run" / "solver.prototxt").read_text()
    assert f'net: "{tmp_path}/run/train.prototxt"' in solver
    assert "solver_mode: CPU" in solver


def test_each_rank_of_a_gpu_run_takes_its_share_of_the_batch(tiny, tmp_path):
    text = tiny.read_text().replace("batch_size = 4", "batch_size = 16")
    tiny.write_text(text)
    run = open_run(read_experiment(tiny), tmp_path / "run", ranks=2, gpu=True)
    assert "iter_size: 2" in run.solver.read_text()  # 16 = 2 ranks x 2 passes x 2 tasks x 2 images
    assert "solver_mode: GPU" in run.solver.read_text()
    with pytest.raises(
        ExperimentError, match=r"batch_size 16 is not a multiple of 3 ranks x 2 tasks x 2 .* = 12"
    ):
        open_run(read_experiment(tiny), tmp_path / "other", 3, True)
    assert not (tmp_path / "other").exists()


def test_a_manifest_beside_the_records_of_another_database_is_refused(tiny, tmp_path):
    edit_manifest(tmp_path, records=9)
    with pytest.raises(
        DataError, match=r"land_lmdb: holds 8 records of \(4, 37, 37\), its manifest says 9 of"
    ):
        check_data(read_experiment(tiny))
    edit_manifest(tmp_path, records=8, side=65)
    with pytest.raises(DataError, match=r"8 records of \(4, 37, 37\), its manifest says 8 of \(4, 65, 65\)"):
        check_data(read_experiment(tiny))
    edit_manifest(tmp_path, side=37)
    check_data(read_experiment(tiny))


def test_weights_carry_the_images_of_their_training_and_of_what_they_were_started_from(tiny, tmp_path):
    shapes = build(read_experiment(tiny), TRAIN).parameter_shapes()
    blobs = {name: [np.ones(shape, np.float32) for shape in its] for name, its in shapes.items()}
    write_caffemodel(tmp_path / "first.caffemodel", "tiny", blobs)
    sums = {name: name * 32 for name in ("ab", "cd", "ef")}
    for names, options in ((("ab", "cd"), {}), (("ef",), {"weights": [tmp_path / "first.caffemodel"]})):
        inputs = [{"id": name, "image_sha256": sums[name]} for name in names]
        edit_manifest(tmp_path, inputs=inputs)
        run = open_run(read_experiment(tiny), tmp_path / f"run_{names[0]}", 1, False, **options)
        card = run.card(3)
        write_card(tmp_path / "first.caffemodel", card)
    assert card.has_seen("land") == {"abababababab", "cdcdcdcdcdcd", "efefefefefef"}
    assert card.has_seen("road") == card.has_seen("sea") == frozenset()


def test_scenes_that_train_and_validate_are_told(tiny, tmp_path):
    source = 'source = "land_lmdb"'
    tiny.write_text(tiny.read_text().replace(source, f'{source}\nvalidation = "held_out"'))
    shutil.copytree(tmp_path / "land_lmdb", tmp_path / "held_out")
    for name, images in (("land_lmdb", "abc"), ("held_out", "cde")):
        inputs = [{"id": f"scene {image}", "image_sha256": image} for image in images]
        edit_manifest(tmp_path, name, inputs=inputs)
    line = "held_out has 1 scene in common with land_lmdb, as scene c: its scores will mislead"
    assert list(overlapping_scenes(read_experiment(tiny))) == [line]
    edit_manifest(tmp_path, "held_out", inputs=inputs[1:])
    assert list(overlapping_scenes(read_experiment(tiny))) == []


def test_a_run_that_is_there_is_gone_on_with_or_begun_anew_but_only_when_asked(tiny, tmp_path):
    experiment = read_experiment(tiny)
    open_run(experiment, tmp_path / "run", 1, False)
    with pytest.raises(OutputError, match=r"run: exists already; give --resume .* or --overwrite"):
        open_run(experiment, tmp_path / "run", 1, False)
    open_run(experiment, tmp_path / "run", 1, False, resume=True)
    open_run(experiment, tmp_path / "run", 1, False, overwrite=True)


def test_an_existing_run_is_kept(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "weights.caffemodel").write_text("a week of training")
    with pytest.raises(OutputError, match="exists already; give --overwrite"):
        open_run(read_experiment(tiny), tmp_path / "run", 1, False)
    assert (tmp_path / "run" / "weights.caffemodel").read_text() == "a week of training"


def test_weights_that_do_not_fit_leave_no_folder(tiny, tmp_path):
    from prototxt_gen.caffe_proto import caffe_pb2

    net = caffe_pb2().NetParameter()
    net.layer.add(name="conv1").blobs.add(data=[0.0] * 9408).shape.dim.extend((64, 3, 7, 7))
    (tmp_path / "other.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(WeightsError, match="layer conv1 has the shapes 64x3x7x7, the net 4x3x7x7"):
        open_run(read_experiment(tiny), tmp_path / "run", 1, False, [tmp_path / "other.caffemodel"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "numbers"), [("0", [0]), ("0-7", list(range(8))), ("0,2,5-6", [0, 2, 5, 6]), ("3,1", [3, 1])]
)
def test_gpu_lists_are_read(text, numbers):
    assert gpu_numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "1-2-3", "0,0", "3-1", "0-2,1", "-1"])
def test_other_gpu_lists_are_refused(text):
    with pytest.raises(ExperimentError, match=r"--gpus: cannot read .*; write 0-7, or 0,2,3"):
        gpu_numbers(text)


def test_a_database_of_version_1_still_trains(tiny, tmp_path):
    for task, dataset in DATASETS.items():
        old = {"format": 1, "task": task, "side": 37, "classes": dataset.class_names}
        (tmp_path / f"{task}_lmdb" / "manifest.json").write_text(json.dumps(old))
    check_data(read_experiment(tiny))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ('{"task": "land"}', "lacks classes, side"),
        ('{"format": 2, "side": 9}', "lacks dataset"),
        ("[" * 100_000, "cannot be read"),
        ('{"format": 2, "side": "9", "dataset": {}}', "has side = '9'"),
        ('{"format": 2, "side": 9, "dataset": {}, "bands": null}', "has bands = None"),
        ('{"format": 2, "side": 9, "dataset": {}, "inputs": [1]}', "has inputs.0 = 1"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_manifest_is_refused(tiny, tmp_path, text, words):
    manifest = tmp_path / "land_lmdb" / "manifest.json"
    manifest.unlink() if text is None else manifest.write_text(text)
    with pytest.raises(DataError, match=f"manifest.json: {words}"):
        check_data(read_experiment(tiny))


def first_weights(folder, name="first.caffemodel", value=0.5):
    """Write weights that fit the tiny net in part; return their path and SHA-256."""
    path = folder / name
    write_caffemodel(path, "tiny", {"conv1": [np.full((4, 3, 7, 7), value, np.float32)]}, overwrite=True)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_of_other_bands_are_refused_or_leave_the_first_convolution_at_its_filler(tiny, tmp_path):
    path, _ = first_weights(tmp_path)
    given = {"iteration": 1, "mean": (1, 2, 3), "scale": 1, "crop": 33, "tasks": {"land": LAND}}
    card = ModelCard(experiment="e", model="dfcnet", bands=("nir", "red", "green"), **given)
    write_card(path, card)
    words = r"first\.caffemodel: has learnt from the bands nir, red, green, the experiment .*--allow-mis"
    with pytest.raises(WeightsError, match=words):
        open_run(read_experiment(tiny), tmp_path / "run", 1, False, [path])
    weights = {"conv1": [np.ones((4, 3, 7, 7), np.float32)], "conv1/scale": [np.ones(4, np.float32)] * 2}
    write_caffemodel(path, "tiny", weights, overwrite=True)
    write_card(path, card)
    exp = read_experiment(tiny)
    shapes = build(exp, TRAIN).parameter_shapes()
    found = match_weights(shapes, path, Coverage.ALLOW_MISMATCH, exp)
    assert (found.loaded, found.differing) == (["conv1/scale"], ["conv1"])
    assert "1 layer other shape, bands or classes, left at their filler: Stem (1)" in found.lines(
        build(exp, TRAIN).parts()
    )
    others = exp.input.model_copy(update={"bands": ("nir", "red", "green")})
    assert (
        match_weights(shapes, path, Coverage.PARTIAL, exp.model_copy(update={"input": others})).differing
        == []
    )


def test_weights_of_other_classes_are_refused_or_leave_the_head_at_its_filler(tiny, tmp_path):
    """As many classes have a head of the same shape."""
    path, exp = tmp_path / "first.caffemodel", read_experiment(tiny)
    shapes = build(exp, TRAIN).parameter_shapes()
    weights = {
        name: [np.zeros(shape, np.float32) for shape in shapes[name]]
        for name in ("conv1", "land/score", "road/score")
    }
    write_caffemodel(path, "tiny", weights, overwrite=True)
    turned = LAND.model_copy(update={"classes": LAND.classes[::-1]})
    given = {"iteration": 1, "mean": (1, 2, 3), "scale": 1, "crop": 33}
    write_card(path, ModelCard(experiment="e", model="m", tasks={"land": turned, "road": ROAD}, **given))
    with pytest.raises(WeightsError, match=r"has learnt for land 6 classes \(barren, .*--allow-mismatch"):
        open_run(exp, tmp_path / "run", 1, False, [path])
    found = match_weights(shapes, path, Coverage.ALLOW_MISMATCH, exp)
    assert (found.loaded, found.differing) == (["conv1", "road/score"], ["land/score"])


def test_a_run_of_version_1_is_refused_with_the_new_spelling(tiny, tmp_path):
    open_run(read_experiment(tiny), tmp_path / "run", 1, False)
    path = tmp_path / "run" / "experiment.json"
    table = json.loads(path.read_text())
    for task in table["tasks"].values():
        del task["dataset"]
        task |= {"classes": 6, "ignore_label": 255}
    path.write_text(json.dumps(table))
    with pytest.raises(
        ExperimentError, match=r"experiment\.json: is of another version .*--weights .*/run/weights\.caff"
    ):
        open_again(tiny, tmp_path)


def note_checksum(database: Path, more: bytes = b"") -> str:
    """Note in its manifest which data a database has, with some bytes `more` at the end; return that."""
    with (database / "data.mdb").open("ab") as file:
        file.write(more)
    checksum = hashlib.sha256((database / "data.mdb").read_bytes()).hexdigest()
    edit_manifest(database.parent, database.name, data_mdb_sha256=checksum)
    return checksum


def open_again(tiny, folder, *weights, overwrite=False):
    return open_run(
        read_experiment(tiny), folder / "run", 1, False, weights, overwrite=overwrite, resume=True
    )


def test_a_run_notes_the_weights_and_the_databases_that_it_is_begun_with(tiny, tmp_path):
    land = note_checksum(tmp_path / "land_lmdb")
    path, checksum = first_weights(tmp_path)
    run = open_run(read_experiment(tiny), tmp_path / "run", 1, False, [path])
    assert json.loads((tmp_path / "run" / "provenance.json").read_text()) == {
        "weights": [{"name": str(path), "sha256": checksum}],
        "databases": {"land_lmdb": land, "road_lmdb": None},
        "trained_on": {"land": "", "road": ""},
    }
    assert [(each.name, each.sha256) for each in run.card(6).started_from] == [(str(path), checksum)]
    scratch = open_run(read_experiment(tiny), tmp_path / "scratch", 1, False)
    assert scratch.card(6).started_from == ()


def test_other_first_weights_are_not_resumed_with(tiny, tmp_path):
    path, checksum = first_weights(tmp_path)
    other, other_checksum = first_weights(tmp_path, "other.caffemodel", 0.25)
    open_run(read_experiment(tiny), tmp_path / "run", 1, False, [path])
    with pytest.raises(ExperimentError) as caught:
        open_again(tiny, tmp_path, other)
    for words in (f"{path} (SHA-256 {checksum[:16]})", f"{other} (SHA-256 {other_checksum[:16]})", "--run"):
        assert words in str(caught.value)
    with pytest.raises(ExperimentError, match="was started from"):
        open_again(tiny, tmp_path, path, other)
    open_again(tiny, tmp_path, other, overwrite=True)
    assert initial_weights(tmp_path / "run") == (other,)


def test_weights_for_a_run_begun_from_scratch_are_refused(tiny, tmp_path):
    path, _ = first_weights(tmp_path)
    open_again(tiny, tmp_path)
    with pytest.raises(
        ExperimentError, match=r"was started from scratch, now --weights names .*first\.caffemodel"
    ):
        open_again(tiny, tmp_path, path)


def test_the_same_weights_under_another_name_and_none_named_mean_as_begun(tiny, tmp_path):
    path, _ = first_weights(tmp_path)
    open_run(read_experiment(tiny), tmp_path / "run", 1, False, [path])
    copy, _ = first_weights(tmp_path, "copy.caffemodel")
    for weights in ((path,), (copy,), ()):
        open_again(tiny, tmp_path, *weights)
        assert initial_weights(tmp_path / "run") == (path,)


def test_another_database_at_the_same_path_is_not_resumed_with(tiny, tmp_path):
    before = note_checksum(tmp_path / "land_lmdb")
    open_again(tiny, tmp_path)
    now = note_checksum(tmp_path / "land_lmdb", b"other")
    words = f"was started with land_lmdb of SHA-256 {before[:16]}, now it is {now[:16]}; build"
    with pytest.raises(ExperimentError, match=words):
        open_again(tiny, tmp_path)
    open_again(tiny, tmp_path, overwrite=True)
    open_again(tiny, tmp_path)


def test_another_validation_database_is_not_resumed_with(tiny, tmp_path):
    """Its scores could not be compared with those that there are."""
    write_lmdb(tmp_path / "held_out", "land", 6)
    source = 'source = "land_lmdb"'
    text = tiny.read_text().replace(source, f'{source}\nvalidation = "held_out"')
    tiny.write_text(text.replace("snapshot = 4", "snapshot = 4\nvalidate_every = 4"))
    note_checksum(tmp_path / "held_out")
    open_again(tiny, tmp_path)
    note_checksum(tmp_path / "held_out", b"other")
    with pytest.raises(ExperimentError, match="was started with held_out of SHA-256"):
        open_again(tiny, tmp_path)


def test_a_manifest_without_a_checksum_refuses_nothing(tiny, tmp_path):
    open_again(tiny, tmp_path)
    note_checksum(tmp_path / "land_lmdb")
    open_again(tiny, tmp_path)


def test_a_run_of_before_provenance_was_noted_is_gone_on_with(tiny, tmp_path):
    path, _ = first_weights(tmp_path)
    run = open_again(tiny, tmp_path)
    (tmp_path / "run" / "provenance.json").unlink()
    note_checksum(tmp_path / "land_lmdb")
    open_again(tiny, tmp_path, path)
    assert not (tmp_path / "run" / "provenance.json").exists()  # nobody knows what it was started with
    assert run.card(6).started_from is None


def test_the_provenance_of_a_run_that_version_1_began_is_read_under_its_former_name(tiny, tmp_path):
    data = note_checksum(tmp_path / "land_lmdb")
    path, checksum = first_weights(tmp_path)
    run = open_run(read_experiment(tiny), tmp_path / "run", 1, False, [path])
    (run.folder / "provenance.json").rename(run.folder / "origins.json")
    assert [each.sha256 for each in open_again(tiny, tmp_path).card(6).started_from] == [checksum]
    note_checksum(tmp_path / "land_lmdb", b"more")
    with pytest.raises(ExperimentError, match=f"was started with land_lmdb of SHA-256 {data[:8]}"):
        open_again(tiny, tmp_path)
    assert not (run.folder / "provenance.json").exists()
    open_again(tiny, tmp_path, overwrite=True)
    assert not (run.folder / "origins.json").exists()


def test_broken_provenance_is_named_with_the_remedy(tiny, tmp_path):
    open_again(tiny, tmp_path)
    (tmp_path / "run" / "provenance.json").write_text('{"weights": [], "dat')
    with pytest.raises(
        RunError, match=r"run/provenance.json: cannot be read \(.*; start over with --overwrite"
    ):
        open_again(tiny, tmp_path)
    open_again(tiny, tmp_path, overwrite=True)


def test_first_weights_that_have_changed_are_not_loaded_in_silence(tiny, tmp_path):
    path, checksum = first_weights(tmp_path)
    open_run(read_experiment(tiny), tmp_path / "run", 1, False, [path])
    first_weights(tmp_path, path.name, 0.75)
    with pytest.raises(
        ExperimentError, match=rf"started from {path} \(SHA-256 {checksum[:16]}\), which is not"
    ):
        initial_weights(tmp_path / "run")
    path.unlink()
    with pytest.raises(ExperimentError, match="which is not there any more; name them by --weights"):
        initial_weights(tmp_path / "run")
