#!/usr/bin/env python
"""Speed and memory of building databases, against decoding alone and against a plain loop of OpenCV calls.

Scenes of 2448x2448 pixels: DeepGlobe's, where DFCNET_DATA points to them, else synthetic ones. Times are
medians over rounds in which every contender runs once, so that other load on the machine hits all. "x plain
loop" compares times on the clock, "core time / floor" the time that cores were busy. The second line shows
how much faster than one core two cores are on this machine, at this time.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import lmdb
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.datasets import IGNORE
from data_prep.lmdb_writer import write_database
from data_prep.records import RecordConfig
from data_prep.scenes import Scene, find_scenes
from data_prep.synthetic.folders import write_scenes
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.experiment import experiment_path, read_experiment

CONFIG = RecordConfig.of(read_experiment(experiment_path("dfcnet")), "land", margin=32, variants=1, seed=1)
RECORDS = 128  # a contender's in a round
MEMORY_RECORDS = 500
FLOOR, PLAIN, GOAL = "floor: decoding, once a record", "plain OpenCV loop", "build_lmdb, raw, 2 workers"
GOAL_PLAIN, GOAL_FLOOR, GOAL_MEMORY = 1.7, 1.5, 1.5  # times the plain loop, times the floor, GB


def main() -> None:
    """Measure, and print one table a number of variants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, of which the median counts")
    parser.add_argument("--out", type=Path, help="folder for the databases (default: the system's)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.out) as folder:
        scenes = _scenes(Path(folder))
        for variants in (1, 8):
            _compare(scenes, variants, Path(folder), args.rounds)
        _memory(scenes, Path(folder))


def _scenes(folder: Path) -> list[Scene]:
    real = Path(os.environ.get("DFCNET_DATA", folder), "deepglobe/land/train")
    if not real.is_dir():
        write_scenes(folder / "scenes", {"land": 4}, 2448, 1)
        real = folder / "scenes" / "land"
    scenes = find_scenes([real], CONFIG.dataset)
    cores = len(os.sched_getaffinity(0))
    print(f"{len(scenes)} scenes, records of {CONFIG.side}x{CONFIG.side}x4, {cores} cores", flush=True)
    return scenes


def _repeated(scenes: list[Scene], count: int) -> list[Scene]:
    """Return `count` scenes: the same files under other ids."""
    repeated = [scenes[k % len(scenes)] for k in range(count)]
    return [replace(scene, id=f"{scene.id}-{k}") for k, scene in enumerate(repeated)]


def _compare(scenes: list[Scene], variants: int, folder: Path, rounds: int) -> None:
    scenes = _repeated(scenes, RECORDS // variants)
    config = replace(CONFIG, variants=variants)

    def build(encode: str, workers: int) -> None:
        own = replace(config, encode=encode)
        write_database(scenes, own, folder / "db", overwrite=True, workers=workers)

    contenders: dict[str, Callable[[], object]] = {
        FLOOR: lambda: floor(scenes, variants),
        "floor, two processes at once": lambda: _twice(scenes, variants),
        PLAIN: lambda: plain_loop(scenes, config, folder / "plain"),
        "build_lmdb, raw, 1 worker": lambda: build("raw", 1),
        GOAL: lambda: build("raw", 2),
        "build_lmdb, png, 2 workers": lambda: build("png", 2),
    }
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    work: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            begin, busy = time.perf_counter(), _core_seconds()
            run()
            wall[name].append(time.perf_counter() - begin)
            work[name].append(_core_seconds() - busy)
    print(f"\n{variants} record(s) a scene         records/s   MB/s  x plain loop  core time / floor")
    for name in contenders:
        rate = len(scenes) * variants / statistics.median(wall[name])
        faster = statistics.median(p / t for p, t in zip(wall[PLAIN], wall[name], strict=True))
        share = statistics.median(t / f for f, t in zip(work[FLOOR], work[name], strict=True))
        size = rate * 4 * CONFIG.side**2 / 1e6
        print(f"{name:30} {rate:9.1f} {size:6.0f} {faster:13.2f} {share:18.2f}", flush=True)
        if name == GOAL:
            met = "met" if faster >= GOAL_PLAIN and share <= GOAL_FLOOR else "missed"
            print(f"  goal: {GOAL_PLAIN} times the plain loop, at most {GOAL_FLOOR} times the floor: {met}")


def _core_seconds() -> float:
    """Return the time that cores have spent on this process and on its children that have ended."""
    return sum(os.times()[:4])


def _twice(scenes: list[Scene], variants: int) -> None:
    """Run the floor's work in two processes, half each: what two cores of this machine can give."""
    halves = [scenes[::2], scenes[1::2]]
    team = [get_context("spawn").Process(target=floor, args=(half, variants)) for half in halves]
    for process in team:
        process.start()
    for process in team:
        process.join()


def floor(scenes: list[Scene], variants: int) -> None:
    """Decode image and mask once for every record, with one thread; nothing else."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    for scene in scenes:
        for _ in range(variants):
            cv2.imread(str(scene.image))
            cv2.imread(str(scene.mask))
    cv2.setNumThreads(before)


def plain_loop(scenes: list[Scene], config: RecordConfig, out: Path) -> None:
    """Do what a short script does, without any check: each scene decoded once, OpenCV's own threads."""
    rng = np.random.default_rng(0)
    table = np.full(256, IGNORE, np.uint8)  # by 4R + 2G + B of colours cut at 128
    for label, (red, green, blue) in enumerate(config.dataset.palette):
        table[4 * (red > 127) + 2 * (green > 127) + (blue > 127)] = label
    out.mkdir(exist_ok=True)
    (out / "data.mdb").unlink(missing_ok=True)
    low, high = config.dataset.resize
    with lmdb.open(str(out), map_size=1 << 36) as database:
        transaction = database.begin(write=True)
        for number, scene in enumerate(scenes):
            image, mask = cv2.imread(str(scene.image)), cv2.imread(str(scene.mask))
            bits = cv2.threshold(mask, 127, 1, cv2.THRESH_BINARY)[1]
            labels = cv2.LUT(cv2.transform(bits, np.float32([[1, 2, 4]])), table)
            for variant in range(config.variants):
                window = round(config.side / rng.uniform(low, high))
                y, x = (int(rng.integers(length - window + 1)) for length in labels.shape)
                size = (config.side, config.side)
                part = cv2.resize(image[y : y + window, x : x + window], size, interpolation=cv2.INTER_AREA)
                label = cv2.resize(
                    labels[y : y + window, x : x + window], size, interpolation=cv2.INTER_NEAREST_EXACT
                )
                data = np.concatenate([part.transpose(2, 0, 1), label[None]]).tobytes()
                datum = caffe_pb2().Datum(channels=4, height=config.side, width=config.side, data=data)
                transaction.put(f"{number:08d}_{variant}".encode(), datum.SerializeToString())
            if number % 8 == 7:
                transaction.commit()
                transaction = database.begin(write=True)
        transaction.commit()


def _memory(scenes: list[Scene], folder: Path) -> None:
    """Build a large database with two workers; print the peak memory of the three processes together."""
    peaks: list[int] = []
    done = threading.Event()
    watch = threading.Thread(target=lambda: _watch(done, peaks))
    watch.start()
    write_database(_repeated(scenes, MEMORY_RECORDS), CONFIG, folder / "large", workers=2)
    done.set()
    watch.join()
    half = len(peaks) // 2
    peak, late = max(peaks) / 1e9, max(peaks[half:]) / 1e9
    met = "met" if peak < GOAL_MEMORY else "missed"
    print(
        f"\nmemory with 2 workers, {MEMORY_RECORDS} records: {peak:.2f} GB at most, "
        f"{late:.2f} GB in the second half; goal: under {GOAL_MEMORY} GB: {met}"
    )


def _watch(done: threading.Event, peaks: list[int]) -> None:
    while not done.wait(0.2):
        peaks.append(sum(map(_proportional, [os.getpid(), *_children()])))


def _children() -> list[int]:
    return [
        int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()
    ]


def _proportional(pid: int) -> int:
    """Return a process's memory in bytes, pages shared with others counted in parts; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
