"""Data layers that leave out batches: what follows is, to the bit, what follows where they are read."""

import time
from pathlib import Path

import lmdb
import numpy as np
import pytest

from data_prep.datums import to_datum

pytestmark = pytest.mark.caffe
LAYER = """
layer {{
  name: "{name}" type: "Data" top: "{name}"
  transform_param {{ {transform} }}
  data_param {{ source: "{source}" batch_size: {batch} prefetch: 4 backend: LMDB }}
}}
"""
CROP_AND_MIRROR = "crop_size: 5 mirror: true"


@pytest.fixture
def caffe():
    from training.pycaffe import import_caffe

    caffe = import_caffe()
    caffe.set_mode_cpu()
    yield caffe
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)


def write_records(source: Path, records: int, side: int = 8, encode: str = "raw") -> None:
    rng = np.random.default_rng(records)
    with lmdb.open(str(source), map_size=1 << 24) as database, database.begin(write=True) as writing:
        for number in range(records):
            record = rng.integers(0, 256, (4, side, side), np.uint8)
            writing.put(f"{number:08d}".encode(), to_datum(record, encode))


@pytest.fixture
def new_net(caffe, tmp_path):
    """Return a function that makes a net of two Data layers, the second of PNGs, always from one seed."""
    write_records(tmp_path / "land", 7)
    write_records(tmp_path / "road", 5, encode="png")

    def new(transform: str = CROP_AND_MIRROR, ranks: int = 1, rank: int = 0, phase: int = caffe.TRAIN):
        texts = (
            LAYER.format(name=name, transform=transform, source=tmp_path / name, batch=batch)
            for name, batch in (("land", 3), ("road", 2))
        )
        (tmp_path / "net.prototxt").write_text("".join(texts))
        caffe.set_solver_count(ranks)
        caffe.set_solver_rank(rank)
        caffe.set_random_seed(11)
        return caffe.Net(str(tmp_path / "net.prototxt"), phase)

    return new


def read(net, batches: int) -> list[bytes]:
    """Return the next batches of all layers."""
    return [b"".join(blob.tobytes() for blob in net.forward().values()) for _ in range(batches)]


# as many as are loaded beforehand (4), fewer, more; past the databases' ends, with and without a rest
LEFT_OUT = (0, 1, 4, 5, 7, 35, 100)


@pytest.mark.parametrize(
    ("transform", "ranks", "rank"),
    [
        (CROP_AND_MIRROR, 1, 0),
        (CROP_AND_MIRROR, 4, 0),
        (CROP_AND_MIRROR, 4, 3),
        ("crop_size: 5", 1, 0),
        ("mirror: true", 2, 1),
        ("", 4, 2),
    ],
)
def test_what_follows_batches_left_out_is_what_follows_batches_read(new_net, transform, ranks, rank):
    expected = read(new_net(transform, ranks, rank), max(LEFT_OUT) + 8)
    for batches in LEFT_OUT:
        net = new_net(transform, ranks, rank)
        net.advance_data(batches)
        assert read(net, 8) == expected[batches : batches + 8], batches


def test_batches_are_left_out_again_and_between_others(new_net):
    expected = read(new_net(), 60)
    net = new_net()
    end = 0
    for begin, batches in ((0, 2), (2, 3), (13, 1), (14, 6), (50, 10)):
        net.advance_data(begin - end)
        end = begin + batches
        assert read(net, batches) == expected[begin:end]


def test_a_test_net_leaves_out_records_of_all_ranks(caffe, new_net):
    """In TEST no rank passes over the records of others."""
    expected = read(new_net(ranks=4, rank=1, phase=caffe.TEST), 13)
    net = new_net(ranks=4, rank=1, phase=caffe.TEST)
    net.advance_data(9)
    assert read(net, 4) == expected[9:]


def test_the_images_of_a_long_training_are_left_out_within_seconds(caffe, tmp_path):
    """Those of 4 million, whose 12 million random numbers Boost does not make one by one."""
    write_records(tmp_path / "land", 1000, side=3)
    layer = LAYER.format(
        name="land", transform="crop_size: 1 mirror: true", source=tmp_path / "land", batch=1000
    )
    (tmp_path / "net.prototxt").write_text(layer)
    nets = []
    for _ in range(2):
        caffe.set_random_seed(11)
        nets.append(caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN))
    read(nets[0], 4000)
    start = time.process_time()  # other processes do not count
    nets[1].advance_data(4000)
    assert time.process_time() - start < 10
    assert read(nets[1], 2) == read(nets[0], 2)
