"""BatchNorm's statistics of one task alone: of which crops they are, and what they leave as it was."""

import lmdb
import numpy as np
import pytest

from data_prep.datums import from_datum
from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.fused_weights import is_statistics, plain_view
from prototxt_gen.model_card import read_card
from tests.conftest import TINY, refused, write_lmdb

pytestmark = pytest.mark.caffe
CROP, RECORDS = 33, 8  # a record is a crop: the Data layer has nothing to draw


@pytest.fixture(params=["plain", "fused"])
def run(request, tmp_path, monkeypatch, run_tool):
    """Return a folder of a training on land and roads, and the land images as the net gets them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_lmdb(tmp_path / "land_lmdb", "land", 6, side=CROP, records=RECORDS)
    write_lmdb(tmp_path / "road_lmdb", "road", 2, side=CROP, records=RECORDS)
    text = TINY.replace("scale = 0.017", "scale = 0.017\nmirror = false")
    (tmp_path / "tiny.toml").write_text(
        text.replace("[fusion]", f'dense_block = "{request.param}"\n[fusion]')
    )
    done = run_tool("train.py", "tiny.toml", "--cpu", "--run", "run")
    assert done.returncode == 0, done.stderr
    return tmp_path / "run"


def images(source) -> np.ndarray:
    """Return the images of a database as the net gets them, (records, 3, side, side)."""
    with lmdb.open(str(source), readonly=True, lock=False) as database, database.begin() as reading:
        records = [from_datum(bytes(value), source) for _, value in reading.cursor()]
    mean = np.array([103.94, 116.78, 123.68])[:, None, None]
    return (np.stack(records)[:, :3] - mean) * 0.017


def stem(batch: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Return conv1 of a batch, 7x7 with stride 2 and padding 3, written out."""
    padded = np.pad(batch, ((0, 0), (0, 0), (3, 3), (3, 3)))
    side = (batch.shape[2] + 1) // 2
    windows = [
        padded[:, :, row : row + 2 * side - 1 : 2, column : column + 2 * side - 1 : 2]
        for row in range(7)
        for column in range(7)
    ]
    stacked = np.stack(windows, axis=2)  # (images, 3, 49, side, side)
    return np.einsum("nckhw,ock->nohw", stacked, filters.reshape(*filters.shape[:2], 49))


def test_statistics_are_plain_means_over_passes_of_the_tasks_crops(run, run_tool, tmp_path):
    done = run_tool("recompute_bn.py", run, "--task", "land", "--passes", 3, "--out", "land.caffemodel")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "land.caffemodel: BatchNorm's statistics of 6 crops of land\n"
    weights = plain_view(read_caffemodel(tmp_path / "land.caffemodel"))
    features = stem(images(tmp_path / "land_lmdb"), weights["conv1"][0].astype(float))
    passes = [features[at : at + 2].transpose(1, 0, 2, 3).reshape(4, -1) for at in (0, 2, 4)]
    mean, variance, count = weights["conv1/bn"]
    assert count == 3
    np.testing.assert_allclose(mean / 3, np.mean([each.mean(axis=1) for each in passes], axis=0), atol=1e-4)
    expected = np.mean([each.var(axis=1, ddof=1) for each in passes], axis=0)
    np.testing.assert_allclose(variance / 3, expected, rtol=1e-3)


def test_all_but_the_statistics_of_the_tasks_own_net_stays(run, run_tool, tmp_path):
    assert run_tool("recompute_bn.py", run, "--passes", 2, "--out", "land.caffemodel").returncode == 0
    before, after = (
        plain_view(read_caffemodel(path))
        for path in (run / "weights.caffemodel", tmp_path / "land.caffemodel")
    )
    assert before.keys() == after.keys()
    for name, blobs in before.items():
        same = all(np.array_equal(a, b) for a, b in zip(blobs, after[name], strict=True))
        assert same == (not is_statistics(name) or name.startswith("road/")), name
    assert list(read_card(tmp_path / "land.caffemodel").tasks) == ["land"]


def test_what_cannot_be_computed_is_refused_in_a_line(run, run_tool, tmp_path):
    def recompute(*more):
        return run_tool("recompute_bn.py", run, "--out", "x.caffemodel", *more)

    refused(recompute("--task", "sea"), "has no task sea", "choose from land, road")
    refused(recompute("--passes", 0), "--passes")
    refused(run_tool("recompute_bn.py", "nowhere", "--out", "x.caffemodel"), "nowhere", "give a folder")
    (tmp_path / "land_lmdb").rename(tmp_path / "elsewhere")
    refused(recompute(), "land_lmdb: does not exist")
    assert not (tmp_path / "x.caffemodel").exists()
