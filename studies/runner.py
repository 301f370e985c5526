"""A study carried out: databases, trainings and maps, each made once and found again by a later call."""

import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.datasets import Dataset
from common.errors import ExperimentError, RunError
from common.numbers import plural
from data_prep.lmdb_writer import write_database
from data_prep.manifest import MANIFEST
from data_prep.read_options import ReadOptions
from data_prep.records import RecordConfig
from data_prep.shuffling import shuffle_masks
from inference.process_group import ProcessGroup
from inference.request import Request
from prototxt_gen.emit import Command
from prototxt_gen.experiment import Experiment
from studies.arms import ARMS, SHUFFLED, TRAIN, database
from studies.plan import Study, experiment_of
from studies.provenance import remember
from studies.scenes import StudyScenes, choose_study_scenes
from training import driver
from training.bn_statistics import recompute_statistics
from training.communicators import mpi_rank_and_size
from training.gpus import check_gpus
from training.rank import RankOptions
from training.run import Run

LOG = "log.jsonl"  # a line per step: what, when it ended, seconds by the clock and of processors
ONE_SCALE, OWN_STATISTICS, SCALES, ENSEMBLE = "one_scale", "own_statistics", "scales", "ensemble"


@dataclass(frozen=True)
class StudyRunner:
    """A study in its folder `out`; `root` is the folder that the study's data paths are relative to."""

    study: Study
    base: Experiment
    root: Path
    out: Path
    gpus: Sequence[int] = ()
    command: Command | None = None  # for the headers of prototxts
    log: Callable[[str], None] = print

    def run(self) -> int:
        """Do all that is not done; return 0, or 128 + a signal's number where training was stopped by one.

        Raises DFCNetError for input that is wrong, a folder of another study, and a run that failed.
        """
        self._check()
        self.out.mkdir(parents=True, exist_ok=True)
        with driver.run_lock(self.out):
            remember(self.out, self._settings())
            self._databases()
            for seed in self.study.seeds:
                for arm in self.study.arms:
                    if code := self._train(arm, seed):
                        return code
                    self._recompute(arm, seed)
                    for mode in self.test_modes:
                        self._map(arm, mode, seed)
            if len(self.study.seeds) > 1:
                for arm in self.study.arms:
                    self._map(arm, ENSEMBLE)
        return 0

    @property
    def data(self) -> Path:
        """The folder of the databases."""
        return self.out / "data"

    @property
    def main(self) -> str:
        """The task that is tested."""
        return self.base.task_names()[0]

    @property
    def dataset(self) -> Dataset:
        """The data set that is tested on."""
        return self.base.tasks[self.main].dataset

    @property
    def tested(self) -> Path:
        """The first folder of the main task's scenes, images and true masks."""
        return self.root / self.study.scenes[self.main].images[0]

    @cached_property
    def scenes(self) -> StudyScenes:
        """The scenes that train and that test."""
        return choose_study_scenes(self.study, self.base, self.root)

    @cached_property
    def test_modes(self) -> tuple[str, ...]:
        """How each training's weights are tested: at one scale, with other statistics too, at several."""
        test = self.study.test
        own = (OWN_STATISTICS,) if test.own_statistics else ()
        return (ONE_SCALE, *own) if test.scales == (1.0,) and not test.flip else (ONE_SCALE, *own, SCALES)

    def training(self, arm: str, seed: int) -> Run:
        """Return the run of one arm and seed."""
        folder = self.out / "runs" / f"{arm}_{seed}"
        return Run(experiment_of(self.study, self.base, arm, seed, self.data), folder)

    def is_trained(self, arm: str) -> bool:
        """Return whether the weights of all seeds of an arm are there: then databases are not needed."""
        runs = [self.training(arm, seed) for seed in self.study.seeds]
        return all(run.is_done() and all(map(Path.exists, self._weights(run).values())) for run in runs)

    def maps(self, arm: str, mode: str, seed: int | None = None) -> Path:
        """Return the folder of the held-out scenes' maps; without a seed, of all seeds' nets together."""
        seeds = "_".join(map(str, self.study.seeds)) if seed is None else seed
        return self.out / "maps" / f"{arm}_{seeds}_{mode}"

    def _check(self) -> None:
        """Refuse what would fail after hours: GPUs and ranks that do not fit, scenes that are not there."""
        if mpi_rank_and_size():
            raise ExperimentError("mpirun", "starts a study several times", "start it alone")
        check_gpus("--gpus", self.gpus, "use --cpu")
        group = len(self.gpus) or 1
        for arm in self.study.arms:
            try:
                self.training(arm, 0).experiment.iter_size(group)
            except ValueError as error:
                raise ExperimentError(arm, str(error), "choose another number of GPUs") from error
        _ = self.scenes

    def _settings(self) -> dict:
        """Return all that results depend on, but the seeds: further ones, and further arms, may be added."""
        arms = {}
        for arm in self.study.arms:
            table = self.training(arm, 0).experiment.model_dump(mode="json", exclude_none=True)
            del table["solver"]["random_seed"]
            for task in table["tasks"].values():
                del task["source"]  # inside the folder, wherever that is
            arms[arm] = table | {"start_from": self.study.start_from.get(arm, "")}
        study = self.study.model_dump(mode="json", include={"records", "test"}, exclude_none=True)
        del study["test"]["resamples"]
        # Without defaults: an option that a later version adds does not make another study of this one.
        study["scenes"] = self.study.model_dump(mode="json", include={"scenes"}, exclude_defaults=True)[
            "scenes"
        ]
        return {**study, "files": self.scenes.checksums(), "arms": arms}

    def _databases(self) -> None:
        records = self.study.records
        pending = [arm for arm in self.study.arms if not self.is_trained(arm)]
        classmates = {ARMS[arm].classmates for arm in pending} - {None}
        for task in self.base.tasks if pending else ():
            for kind in [TRAIN] if task == self.main else sorted(classmates):
                folder = database(task, kind)
                if (self.data / folder / MANIFEST).exists():
                    continue
                with self._step(f"database {folder}"):
                    cut = self.study.scenes[task]
                    config = RecordConfig.of(
                        self.base,
                        task,
                        records.margin,
                        cut.variants,
                        records.seed,
                        rotate=cut.rotate,
                        jitter=cut.jitter,
                        class_aware=cut.class_aware,
                    )
                    scenes = self.scenes.train[task]
                    if kind == SHUFFLED:
                        read_options = ReadOptions.of(config.dataset, config.bands)
                        scenes = shuffle_masks(scenes, config.dataset, records.seed, read_options)
                    warnings = self.scenes.warnings[task]
                    for line in warnings:
                        self.log(f"warning: {line}")
                    split = {"warnings": warnings} if warnings else None
                    write_database(scenes, config, self.data / folder, split=split)

    def _train(self, arm: str, seed: int) -> int:
        run = self.training(arm, seed)
        if run.is_done():
            return 0
        first = self.study.start_from.get(arm)
        weights = (self.training(first, seed).weights,) if first else ()
        with self._step(f"train {arm} seed {seed}") as step:
            step["gpus"] = len(self.gpus)
            options = RankOptions(weights=weights)
            step["code"] = driver.start(
                run.experiment, run.folder, self.gpus, options, False, resume=True, command=self.command
            )
        return step["code"]

    def _weights(self, run: Run) -> dict[str, Path]:
        """Return the weights of a run by what they are tested with, as far as it differs."""
        weights = {ONE_SCALE: run.weights}
        if self.study.test.own_statistics:
            weights[OWN_STATISTICS] = run.weights.with_stem(f"{run.weights.stem}_{self.main}")
        return weights

    def _recompute(self, arm: str, seed: int) -> None:
        run = self.training(arm, seed)
        out, passes = self._weights(run).get(OWN_STATISTICS), self.study.test.own_statistics
        if out is not None and not out.exists():
            with self._step(f"statistics {arm} seed {seed}"):
                gpu = self.gpus[0] if self.gpus else None
                recompute_statistics(run.experiment, run.weights, self.main, passes, out, gpu)

    def _map(self, arm: str, mode: str, seed: int | None = None) -> None:
        """Map the held-out scenes; those that are done are known by their manifests."""
        test = self.study.test
        seeds = self.study.seeds if seed is None else (seed,)
        runs = [self.training(arm, number) for number in seeds]
        several = mode in (SCALES, ENSEMBLE)
        request = Request(
            [scene.image for scene in self.scenes.test],
            runs[0].deploy,
            [weights.get(mode, weights[ONE_SCALE]) for weights in map(self._weights, runs)],
            self.maps(arm, mode, seed),
            task=self.main,
            tile=test.tile,
            scales=test.scales if several else (1.0,),
            flip=test.flip and several,
            gpu=self.gpus[0] if self.gpus else None,
        )
        with self._step(f"map {arm} {mode}" + ("" if seed is None else f" seed {seed}")) as step:
            done = request.run(ProcessGroup(), self.log)
            step["scenes"] = done.scenes
        if done.errors:
            raise RunError(
                request.out, f"{plural(len(done.errors), 'scene')} failed ({done.errors[0]})", "fix them"
            )

    @contextmanager
    def _step(self, name: str) -> Iterator[dict]:
        """Log what has ended with its seconds and what the block notes, and say so; nothing for no scene."""
        notes, begin, begin_cpu = {}, time.monotonic(), _cpu_seconds()
        yield notes
        if notes.get("scenes") == 0:
            return
        line = {"what": name, "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **notes}
        line["seconds"] = round(time.monotonic() - begin, 1)
        line["cpu_seconds"] = round(_cpu_seconds() - begin_cpu, 1)
        with (self.out / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        outcome = "stopped; the same command continues" if notes.get("code") else f"{line['seconds']:,} s"
        self.log(f"== {name}: {outcome}")


def read_steps(log: Path) -> list[dict]:
    """Return the steps of a study's log."""
    steps = []
    for line in log.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # cut off where a call was killed
            steps.append(json.loads(line))
    return steps


def _cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended: load does not count."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
