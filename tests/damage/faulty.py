"""Commands that write, each failing at its k-th write, sync or rename; see test_faults.py, which starts this.

Each trial is a fork of one process, in which everything is loaded: an output that is whole lies there, and
the command is to replace it, or to add to it.
"""

import ctypes
import json
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EIO, ENOSPC
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pyogrio
import rasterio
from rasterio.transform import from_origin

from common.errors import DFCNetError
from common.files import write_text
from common.staging import staging_directory
from data_prep.inspection import check_database
from data_prep.lmdb_writer import write_database
from data_prep.manifest import MANIFEST, read_manifest
from data_prep.read_options import ReadOptions
from data_prep.scenes import find_scenes
from inference.loading import TrainedTask
from inference.polygon_files import write_polygons
from inference.predictor import NormalizedNet, Predictor
from inference.scene_files import ScenePath
from inference.scene_maps import OutputOptions, write_map
from inference.scene_predictor import ScenePredictor
from prototxt_gen.experiment import read_experiment
from tests.conftest import TINY
from tests.datasets import LAND, ROAD, config
from training.progress import ProgressLog

KINDS = {"write": 0, "sync": 1, "rename": 2}
HOW = {"ENOSPC": ENOSPC, "EIO": EIO, "kill": -1}
DONE, REFUSED, BUG = 0, 2, 3  # exit codes of a trial
OLD, NEW = "old", "new"


@dataclass(frozen=True)
class Command:
    """`prepare(folder)` makes an old output, `act(folder)` the new; `state(folder)` says which is whole."""

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    state: Callable[[Path], str]


def of_text(folder: Path) -> str:
    return {"old" * 5000: OLD, "new" * 9000: NEW}[(folder / "score.json").read_text()]


def of_database(folder: Path) -> str:
    """A kill between the two renames of an exchange leaves both beside the name, whole."""
    path = folder / "db"
    if not path.exists():
        path, *_ = [path.parent for path in folder.glob(f".db.*/{MANIFEST}")]
    check_database(path)
    return {1: OLD, 2: NEW}[read_manifest(path)["seed"]]


def build(folder: Path, seed: int) -> None:
    scenes = find_scenes([folder / "scenes"], ROAD)
    write_database(scenes, config("road", crop=33, variants=2, seed=seed), folder / "db", overwrite=True)


def prepare_database(folder: Path) -> None:
    (folder / "scenes").mkdir()
    rng = np.random.default_rng(8)
    for id in "ab":
        mask = np.zeros((40, 44), np.uint8)
        mask[5:20] = 255
        cv2.imwrite(str(folder / "scenes" / f"{id}_sat.png"), rng.integers(0, 256, (40, 44, 3), np.uint8))
        cv2.imwrite(str(folder / "scenes" / f"{id}_mask.png"), mask)
    build(folder, 1)


def log(folder: Path, steps: range) -> None:
    tiny = folder.parent / "tiny.toml"
    tiny.write_text(TINY)
    run = SimpleNamespace(experiment=read_experiment(tiny), log=folder / "log.jsonl")
    with ProgressLog(run) as progress:
        progress.say = lambda line: None
        for step in steps:
            progress.take("step", step, {"land": 1.0, "road": 2.0}, 0.1, 0.0, 1)
        if progress.failure:
            raise progress.failure


def of_log(folder: Path) -> str:
    """The last line may be cut off; the next start drops it."""
    lines = (folder / "log.jsonl").read_text().split("\n")[:-1]
    seen = [json.loads(line)["iteration"] for line in lines]
    assert seen[:2] == [2, 4]
    return NEW if seen[-2:] == [8, 10] else OLD


class BlueNet:
    """Says that each pixel is of the class of its blue value."""

    side = 33

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.eye(6, dtype=np.float32)[tiles[:, 0].astype(int)], -1, 1)


def predict(folder: Path, label: int) -> None:
    image = np.full((3, 50, 60), label, np.uint8)
    place = {"crs": "EPSG:32633", "transform": from_origin(500000, 5000000, 0.5, 0.5)}
    path = folder.parent / f"{folder.name}_{label}_sat.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=50, width=60, dtype="uint8", photometric="RGB", **place
    ) as file:
        file.write(image)
    trained = TrainedTask("land", LAND, ("blue", "green", "red"), (0, 0, 0), 1.0)
    predictor = Predictor([NormalizedNet(BlueNet(), (0, 0, 0), 1.0)])
    outputs = OutputOptions(probabilities=True, confidence=True)
    with staging_directory(folder / "maps") as work:
        scene = ScenePredictor(
            predictor,
            trained,
            folder / "maps",
            work,
            outputs,
            ReadOptions(),
            {"label": label},
            lambda line: None,
        )
        scene(ScenePath("7", path))


def of_maps(folder: Path) -> str:
    with rasterio.open(folder / "maps" / "7_mask.tif") as file:
        labels = file.read(1)
    [label] = np.unique(labels)
    return {1: OLD, 2: NEW}[int(label)]


def polygons(folder: Path, parts: int) -> None:
    path = folder.parent / f"{folder.name}_{parts}_mask.png"
    labels = np.zeros((40, 40), np.uint8)
    labels[:, : 4 * parts : 4] = 1
    write_map(path, labels, LAND, overwrite=True)
    write_polygons({"7": path}, folder / "maps.gpkg", LAND, pixel_size=1.0, overwrite=True)


def of_polygons(folder: Path) -> str:
    info = pyogrio.read_info(folder / "maps.gpkg", layer="polygons", force_feature_count=True)
    return {8: OLD, 16: NEW}[info["features"]]


COMMANDS = {
    "scores and reports": Command(
        lambda folder: write_text(folder / "score.json", "old" * 5000),
        lambda folder: write_text(folder / "score.json", "new" * 9000),
        of_text,
    ),
    "training log": Command(
        lambda folder: log(folder, range(1, 5)), lambda folder: log(folder, range(5, 11)), of_log
    ),
    "LMDB": Command(prepare_database, lambda folder: build(folder, 2), of_database),
    "maps": Command(lambda folder: predict(folder, 1), lambda folder: predict(folder, 2), of_maps),
    "polygons": Command(lambda folder: polygons(folder, 4), lambda folder: polygons(folder, 8), of_polygons),
}
faults = ctypes.CDLL(None)


def in_a_fork(action: Callable[[], None], said: Path) -> int:
    """Run an action in a fork; return its exit code, or minus the signal that has ended it."""
    if (child := os.fork()) == 0:
        code = DONE
        try:
            action()
        except DFCNetError as error:
            said.write_text(str(error))
            code = REFUSED if "\n" not in str(error) else BUG
        except BaseException:
            faults.fault_plan(-1, 0, 0, b"/nowhere")
            said.write_text(traceback.format_exc())
            code = BUG
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def plan(kind: str, at: int, how: str, folder: Path) -> None:
    faults.fault_plan(KINDS[kind], at, HOW[how], f"{folder}/".encode())


def calls(command: Command, kind: str, folder: Path, said: Path) -> int:
    """Return how many writes, syncs or renames a command makes."""

    def count() -> None:
        plan(kind, 0, "EIO", folder)
        command.act(folder)
        said.write_text(str(faults.fault_count()))

    code = in_a_fork(count, said)
    assert code == DONE, said.read_text()
    assert command.state(folder) == NEW
    return int(said.read_text())


def trials(name: str, work: Path, most: int) -> Iterator[tuple[str, str]]:
    """Yield for each trial (what failed, what came of it); at most so many calls of each kind."""
    command, old, said = COMMANDS[name], work / "old", work / "said"
    here = work / "here"
    here.mkdir(parents=True)
    assert in_a_fork(lambda: command.prepare(here), said) == DONE, said.read_text()
    assert command.state(here) == OLD
    shutil.copytree(here, old)
    for kind in KINDS:
        total = calls(command, kind, here, said)
        chosen = sorted(
            {round(1 + (total - 1) * part / max(most - 1, 1)) for part in range(most)}
            & {*range(1, total + 1)}
        )
        for at in chosen if total else ():
            for how in HOW:
                shutil.rmtree(here)
                shutil.copytree(old, here)
                yield f"{kind} {at} of {total}, {how}", trial(command, kind, at, how, here, said)
        shutil.rmtree(here)
        shutil.copytree(old, here)


def trial(command: Command, kind: str, at: int, how: str, folder: Path, said: Path) -> str:
    def act() -> None:
        plan(kind, at, how, folder)
        command.act(folder)

    code = in_a_fork(act, said)
    expected = {DONE: "done all the same", REFUSED: "named in one line", -signal.SIGKILL: "killed"}
    if code not in expected:
        return f"FAULT exit {code}: {said.read_text()}"
    try:
        state = command.state(folder)
        if code == DONE and state != NEW:
            return "FAULT nothing was said, and the output is the old one"
        again = in_a_fork(lambda: command.act(folder), said)
        if again != DONE:
            return f"FAULT the next call ends with {again}: {said.read_text()}"
        if command.state(folder) != NEW:
            return "FAULT the next call leaves the old output"
    except Exception:
        return f"FAULT {traceback.format_exc()}"
    return expected[code]


if __name__ == "__main__":
    outcomes: dict[str, Counter] = {}
    for name in sys.argv[3:]:
        outcomes[name] = Counter()
        for failed, came in trials(name, Path(sys.argv[1], name.replace(" ", "_")), int(sys.argv[2])):
            outcomes[name][f"{failed}: {came}" if came.startswith("FAULT") else came] += 1
    print(json.dumps(outcomes))
