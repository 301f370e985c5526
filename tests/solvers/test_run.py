"""A run is refused before its folder is made where Caffe would end the process later."""

import json

import pytest

from prototxt_gen.errors import DataError, ExperimentError, OutputError, WeightsError
from prototxt_gen.experiment import read_experiment
from solvers.run import check_data, gpu_numbers, open_run

pytestmark = pytest.mark.caffe


def edit_manifest(folder, **changes):
    path = folder / "land_lmdb" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "road"}, "land_lmdb: holds road records; give a land database"),
        ({"side": 30}, "land_lmdb: holds records of 30 pixels, the crop is 33; build it with --crop 33"),
        ({"classes": ["a", "b"]}, "land_lmdb: has 2 classes, the experiment 6"),
    ],
)
def test_a_database_that_does_not_fit_is_refused(tiny, tmp_path, changes, words):
    edit_manifest(tmp_path, **changes)
    with pytest.raises(DataError, match=words):
        check_data(read_experiment(tiny))


def test_a_missing_database_is_refused_with_the_command_that_makes_it(tiny, tmp_path):
    (tmp_path / "road_lmdb" / "data.mdb").unlink()
    with pytest.raises(DataError, match=r"road_lmdb: is no LMDB; build it with tools/build_lmdb.py road"):
        check_data(read_experiment(tiny))


def test_a_run_folder_holds_what_trains(tiny, tmp_path):
    open_run(read_experiment(tiny), tmp_path / "run", ranks=1, gpu=False)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "deploy.prototxt",
        "deploy_folded.prototxt",
        "experiment.json",
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
        ExperimentError, match=r"batch_size 16 is no multiple of 3 ranks x 2 tasks x 2 .* = 12"
    ):
        open_run(read_experiment(tiny), tmp_path / "other", 3, True)
    assert not (tmp_path / "other").exists()


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


def test_an_ignored_label_that_records_do_not_hold_is_refused(tiny):
    exp = read_experiment(tiny, ["tasks.land.ignore_label=254"])
    with pytest.raises(
        DataError, match=r"ignore_label is 254, records hold 255; set tasks.land.ignore_label to 255"
    ):
        check_data(exp)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "cannot be read"), ('{"task": "land"}', "lacks classes, side"), (None, "cannot be read")],
)
def test_a_broken_manifest_is_refused(tiny, tmp_path, text, words):
    manifest = tmp_path / "land_lmdb" / "manifest.json"
    manifest.unlink() if text is None else manifest.write_text(text)
    with pytest.raises(DataError, match=f"manifest.json: {words}"):
        check_data(read_experiment(tiny))
