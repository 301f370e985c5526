"""What a user asks of predict.py, from the files named to the maps made."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from common.datasets import Dataset, read_dataset
from common.errors import DataError, DFCNetError, WeightsError
from common.files import file_checksum, short_checksum
from common.staging import staging_directory
from data_prep.read_options import ReadOptions
from data_prep.subsets import Subset
from inference.backends import CAFFE, CAFFE_BF16
from inference.deploy import Deploy, read_deploy
from inference.loading import TrainedTask, load_predictor, trained_task
from inference.prediction import PredictionPlan, PredictionSummary, plan_predictions, predict
from inference.prediction_manifest import CLASSES, TEMPERATURE
from inference.predictor import Predictor
from inference.process_group import ProcessGroup, assign_scenes
from inference.scene_files import SAME_PART, ScenePath, find_images, passed_over
from inference.scene_maps import OutputOptions
from inference.scene_predictor import ScenePredictor
from inference.tiles import default_overlap
from prototxt_gen.model_card import IMAGE_DIGITS, read_card


@dataclass(frozen=True)
class Request:
    """The options of predict.py; None stands for their defaults."""

    inputs: Sequence[Path]
    deploy: Path
    weights: Sequence[Path]
    out: Path
    task: str | None = None
    dataset: str | None = None
    tile: int | None = None
    overlap: int | None = None
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    batch: int = 1
    backend: str = CAFFE
    gpu: int | None = None
    stretch: tuple[float, float] | None = None
    bands: Sequence[int] | None = None
    hold_out: int | None = None
    split: Path | None = None
    leave_out: Path | None = None
    overwrite: bool = False
    outputs: OutputOptions = field(default_factory=OutputOptions)

    def run(self, group: ProcessGroup, log: Callable[[str], None]) -> PredictionSummary:
        """Predict this rank's share of the scenes; `log` gets warnings and what fails, a line each.

        Raises DFCNetError where nothing can be begun.
        """
        if self.gpu is not None and group.size > 1:
            fact = f"gives GPU {self.gpu} to each of {group.size} processes"
            raise DFCNetError("--gpu", fact, "start one for each GPU and part of the scenes, without mpirun")
        plan, settings = group.from_rank_0(lambda: self._plan(log))
        if not assign_scenes(plan.pixels, group.size)[group.rank]:
            errors = list(plan.errors) if group.rank == 0 else []
            return PredictionSummary(finished=plan.finished, errors=errors, task=settings["task"])
        predictor, trained = self._load((lambda line: None) if group.rank else log)
        with staging_directory(self.out) as work, _progress(plan, group) as advance:
            predict_scene = ScenePredictor(
                predictor,
                trained,
                self.out,
                work,
                self.outputs,
                self._read_options(trained),
                settings,
                log,
                settings.get(TEMPERATURE),
            )
            return predict(group, plan, predict_scene, log, advance)

    def open(self, log: Callable[[str], None]) -> tuple[Predictor, TrainedTask, ReadOptions, list[ScenePath]]:
        """Return what predicts, what it has learnt, how images are read, and the scenes.

        So another command can use the probabilities. Raises DFCNetError for a scene that cannot be used.
        """
        trained = self._trained_task()
        scenes = self._scenes(trained, log, _refuse)
        return self._load(log)[0], trained, self._read_options(trained), scenes

    def _load(self, log: Callable[[str], None]) -> tuple[Predictor, TrainedTask]:
        return load_predictor(
            self._deploy,
            self.weights,
            self.task,
            self._dataset,
            overlap=self.overlap,
            side=self.tile,
            batch=self.batch,
            scales=self.scales,
            flip=self.flip,
            backend=self.backend,
            gpu=self.gpu,
            warn=lambda line: log(f"warning: {line}"),
        )

    @cached_property
    def _deploy(self) -> Deploy:
        return read_deploy(self.deploy)

    @cached_property
    def _dataset(self) -> Dataset | None:
        return None if self.dataset is None else read_dataset(self.dataset)

    def _trained_task(self) -> TrainedTask:
        """Return what the first weights have learnt; DFCNetError where files are missing or broken."""
        deploy = self._deploy
        for path in self.weights:
            if not path.is_file():
                remedy = "give a .caffemodel file, of a training that has ended or of one of its snapshots"
                raise WeightsError(path, "cannot be read (no such file)", remedy)
        return trained_task(self.weights[0], deploy, self.task, self._dataset, lambda line: None)

    def _read_options(self, trained: TrainedTask) -> ReadOptions:
        read_options = ReadOptions.of(trained.dataset, trained.bands, self.bands, trained.mean)
        if self.stretch is None:
            return read_options
        chosen, learnt = tuple(self.stretch), trained.dataset.stretch
        if learnt not in (None, chosen):
            low, high = learnt
            fact = f"is {chosen[0]:g} {chosen[1]:g}, the weights have learnt with {low:g} {high:g}"
            raise DataError("--stretch", fact, "leave it out: it is taken from the weights' card")
        return replace(read_options, stretch=chosen)

    def _plan(self, log: Callable[[str], None]) -> tuple[PredictionPlan, dict[str, object]]:
        trained = self._trained_task()
        read_options = self._read_options(trained)
        if self.stretch and trained.dataset.stretch is None:
            fact = f"{trained.dataset.name} states no stretch"
            log(f"warning: --stretch: {fact}; the maps are right only if the weights have learnt with it")
        refused: list[DataError] = []
        settings = self._settings(trained, read_options)
        if temperature := self._temperature(trained, log):
            settings[TEMPERATURE] = temperature
        scenes = self._scenes(trained, log, refused.append)
        plan = plan_predictions(scenes, self.out, self.outputs, read_options, settings, self.overwrite)
        plan = replace(plan, errors=[*map(str, refused), *plan.errors])
        for error in plan.errors:
            log(error)
        return plan, settings

    def _temperature(self, trained: TrainedTask, log: Callable[[str], None]) -> float | None:
        """Return the temperature of what is written: None where no probability is, or it was not fitted."""
        if not (self.outputs.probabilities or self.outputs.confidence):
            return None
        calibration = trained.calibration
        if calibration is None:
            return None
        if (calibration.scales, calibration.flip, 1) == (tuple(self.scales), self.flip, len(self.weights)):
            return calibration.temperature
        scales = " ".join(f"{scale:g}" for scale in calibration.scales)
        fitted = f"one net at --scales {scales}{' with --flip' * calibration.flip}"
        log(f"warning: {self.weights[0]}: calibrated for {fitted}: other probabilities stay as they are")
        return None

    def _scenes(
        self, trained: TrainedTask, log: Callable[[str], None], refuse: Callable[[DataError], None]
    ) -> list[ScenePath]:
        dataset = trained.dataset
        subset = Subset(dataset, "test", self.hold_out, self.split, self.leave_out)
        images = find_images(self.inputs, dataset, subset.left_out, refuse)
        ids = [image.id for image in images]
        for warning in (passed_over(self.inputs, dataset), subset.unknown(ids), subset.missing(images)):
            if warning:
                log(f"warning: {warning}")
        scenes = subset.select(images, ids) if images else []
        return self._unseen(scenes, trained.task, subset.option, refuse) if subset.option else scenes

    def _unseen(
        self, scenes: Sequence[ScenePath], task: str, option: str, refuse: Callable[[DataError], None]
    ) -> list[ScenePath]:
        """Return the scenes, but those that cannot be read, which go to `refuse`.

        Raises DataError for a scene that `option` takes for testing, and that has trained the weights.
        """
        seen = frozenset().union(*(card.has_seen(task) for path in self.weights if (card := read_card(path))))
        unseen = []
        for scene in scenes:
            try:
                trained = seen and file_checksum(scene.path)[:IMAGE_DIGITS] in seen
            except DataError as error:
                refuse(error)
                continue
            if trained:
                fact = f"has trained these weights, and {option} takes it for testing"
                raise DataError(scene.path, fact, SAME_PART)
            unseen.append(scene)
        return unseen

    def _settings(self, trained: TrainedTask, read_options: ReadOptions) -> dict[str, object]:
        """Return all that the maps depend on, beside the image: not batch, threads, GPU, other backends."""
        side = self._deploy.tile_side(self.tile)
        return {
            "task": trained.task,
            "deploy": short_checksum(self.deploy),
            "weights": [short_checksum(path) for path in self.weights],
            "tile": side,
            "overlap": default_overlap(side) if self.overlap is None else self.overlap,
            "scales": list(self.scales),
            "flip": self.flip,
            **({"backend": CAFFE_BF16} if self.backend == CAFFE_BF16 else {}),
            "stretch": read_options.stretch and list(read_options.stretch),
            "bands": None if self.bands is None else list(self.bands),
            CLASSES: [
                "{} #{:02x}{:02x}{:02x}".format(name, *colour)
                for name, colour in zip(trained.dataset.class_names, trained.dataset.palette, strict=True)
            ],
            **vars(self.outputs),
        }


def _refuse(error: DataError) -> None:
    raise error


@contextmanager
def _progress(plan: PredictionPlan, group: ProcessGroup) -> Iterator[Callable[[int], object]]:
    """Show rank 0's pixels, with the time left, where stderr is a terminal."""
    numbers = assign_scenes(plan.pixels, group.size)[group.rank]
    total = sum(plan.pixels[number] for number in numbers)
    disable = True if group.rank else None
    with tqdm(total=total, unit="px", unit_scale=True, disable=disable, file=sys.stderr) as bar:
        yield bar.update
