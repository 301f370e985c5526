"""What tests share: skips for what is not there, and a tiny experiment that trains in a second."""

import os
import resource
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from common.datasets import read_dataset
from tests.installed_caffe import has_onednn
from tests.tool_server import Tools

ROOT = Path(__file__).parents[1]

# Of the properties: the same inputs each time, nothing kept in the tree. --hypothesis-profile chooses.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"dfcnet-hypothesis-{os.getuid()}")
settings.register_profile("quick", max_examples=40, derandomize=True, database=None, deadline=None)
settings.register_profile("long", settings.get_profile("quick"), max_examples=2000)
settings.load_profile("quick")

TINY = """
head_channels = 4
[input]
crop = 33
mean = [103.94, 116.78, 123.68]
scale = 0.017
[densenet]
stem_channels = 4
growth_rate = 2
bottleneck = 2
compression = 0.5
encoder_units = [1, 1, 1, 1]
decoder_units = [1, 1, 1, 1]
up_channels = 4
bn_moving_average = 0.9
[fusion]
channels = 4
[tasks.land]
dataset = "deepglobe_land"
source = "land_lmdb"
[tasks.road]
dataset = "deepglobe_road"
source = "road_lmdb"
[solver]
batch_size = 4
ranks = 1
images_per_pass = 2
max_iter = 6
base_lr = 0.05
lr_policy = "poly"
power = 0.9
momentum = 0.9
weight_decay = 0.0005
display = 2
snapshot = 4
random_seed = 3
"""


def pytest_collection_modifyitems(items):
    skips = {}
    if not os.environ.get("DFCNET_DATA"):
        skips["real_data"] = "DFCNET_DATA is not set: no real scenes to test on"
    if not has_onednn():
        skips["onednn"] = "this Caffe is built without oneDNN, whose memory and speed are tested"
    for item in items:
        for name, reason in skips.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def tools():
    with closing(Tools()) as tools:
        yield tools


@pytest.fixture
def run_tool(tools):
    """Return a function that runs a command of tools/ and gives its CompletedProcess."""
    return tools.run


def children_seconds() -> float:
    """Return the processor time of the child processes that have ended, not of those of `run_tool`."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# Before a command that is to get a SIGINT: a shell's background jobs ignore it, and so do their children.
HEED_CTRL_C = ("env", "--default-signal=INT")


def refused(done: subprocess.CompletedProcess, *words: object) -> None:
    """Check exit code 2, nothing on stdout, and one line on stderr that holds all the words."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert str(word) in done.stderr


def write_lmdb(
    path: Path, task: str, classes: int, side: int = 37, records: int = 8, labelled: bool = True
) -> None:
    """Write a database as data_prep does, of patches whose brightness is their label, or is unknown."""
    import json

    from prototxt_gen.caffe_proto import caffe_pb2

    rng = np.random.default_rng(classes)
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as writing:
        for number in range(records):
            patches = rng.integers(0, classes, (3, 3), np.uint8)
            label = np.kron(patches, np.ones((side // 3 + 1,) * 2, np.uint8))[:side, :side]
            image = (label * (250 // classes) + rng.integers(0, 6, (3, side, side))).astype(np.uint8)
            known = label if labelled else np.full_like(label, 255)
            data = np.concatenate([image, known[None]]).tobytes()
            datum = caffe_pb2().Datum(channels=4, height=side, width=side, data=data)
            writing.put(f"{number:08d}".encode(), datum.SerializeToString())
    dataset = read_dataset(f"deepglobe_{task}").model_dump(mode="json")
    manifest = {"format": 2, "dataset": dataset, "bands": ["blue", "green", "red"], "side": side}
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """Return a tiny experiment file, beside its databases, in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_lmdb(tmp_path / "land_lmdb", "land", 6)
    write_lmdb(tmp_path / "road_lmdb", "road", 2)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path
