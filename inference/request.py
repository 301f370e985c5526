"""What a user asks of predict.py, from the files named to the maps made."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from common.datasets import Dataset, read_dataset
from common.errors import DataError, DFCNetError, WeightsError
from common.staging import workplace
from data_prep.choice import Part
from data_prep.decoding import file_checksum
from data_prep.reading import Reading
from inference.deploy import check_side, read_deploy
from inference.engine_names import CAFFE, CAFFE_BF16
from inference.finished import CLASSES, short_checksum
from inference.folders import SAME_PART, ScenePath, find_images
from inference.loading import Learnt, learnt_by, load_predictor
from inference.mapping import Mapper
from inference.prediction import Done, Plan, make_plan, predict
from inference.ranks import Ranks, share
from inference.scene_maps import Wanted
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
    engine: str = CAFFE
    gpu: int | None = None
    stretch: tuple[float, float] | None = None
    bands: Sequence[int] | None = None
    hold_out: int | None = None
    split: Path | None = None
    leave_out: Path | None = None
    overwrite: bool = False
    wanted: Wanted = field(default_factory=Wanted)

    def run(self, ranks: Ranks, complain: Callable[[str], None]) -> Done:
        """Predict this rank's share of the scenes; `complain` gets warnings and what fails, a line each.

        Raises DFCNetError where nothing can be begun.
        """
        if self.gpu is not None and ranks.count > 1:
            fact = f"gives GPU {self.gpu} to each of {ranks.count} processes"
            raise DFCNetError("--gpu", fact, "start one for each GPU and part of the scenes, without mpirun")
        plan, settings = ranks.from_first(lambda: self._plan(complain))
        if not share(plan.pixels, ranks.count)[ranks.number]:
            return Done(finished=plan.finished, task=settings["task"])
        silent = ranks.number > 0
        predictor, learnt = load_predictor(
            self.deploy,
            self.weights,
            self.task,
            self._dataset,
            overlap=self.overlap,
            side=self.tile,
            batch=self.batch,
            scales=self.scales,
            flip=self.flip,
            engine=self.engine,
            gpu=self.gpu,
            warn=(lambda line: None) if silent else (lambda line: complain(f"warning: {line}")),
        )
        with workplace(self.out) as work, _progress(plan, ranks) as advance:
            mapper = Mapper(
                predictor, learnt, self.out, work, self.wanted, self._reading(learnt), settings, complain
            )
            return predict(ranks, plan, mapper, complain, advance)

    @cached_property
    def _dataset(self) -> Dataset | None:
        return None if self.dataset is None else read_dataset(self.dataset)

    def _learnt(self) -> Learnt:
        """Return what the first weights have learnt; DFCNetError where files are missing or broken."""
        deploy = read_deploy(self.deploy)
        for path in self.weights:
            if not path.is_file():
                raise WeightsError(path, "cannot be read (no such file)", "give a .caffemodel file")
        return learnt_by(self.weights[0], deploy, self.task, self._dataset, lambda line: None)

    def _reading(self, learnt: Learnt) -> Reading:
        numbers = None if self.bands is None else tuple(self.bands)
        return Reading(learnt.bands, learnt.dataset.bands, numbers, self.stretch, learnt.mean)

    def _plan(self, complain: Callable[[str], None]) -> tuple[Plan, dict[str, object]]:
        learnt = self._learnt()
        self._reading(learnt)  # refuses what makes no image before time is spent
        settings, scenes = self._settings(learnt), self._scenes(learnt, complain)
        return make_plan(scenes, self.out, self.wanted, settings, self.overwrite), settings

    def _scenes(self, learnt: Learnt, complain: Callable[[str], None]) -> list[ScenePath]:
        part = Part(learnt.dataset, "test", self.hold_out, self.split, self.leave_out)
        images = find_images(self.inputs, learnt.dataset, part.left_out)
        if error := part.missing(images):
            complain(f"warning: {error}")
        scenes = part.pick(images, (image.id for image in images))
        if part.option:
            self._refuse_seen(scenes, learnt.task, part.option)
        return scenes

    def _refuse_seen(self, scenes: Sequence[ScenePath], task: str, option: str) -> None:
        """Raise DataError for a scene that `option` takes for testing, and that has trained the weights."""
        seen = frozenset().union(*(card.has_seen(task) for path in self.weights if (card := read_card(path))))
        for scene in scenes:
            if seen and file_checksum(scene.path)[:IMAGE_DIGITS] in seen:
                fact = f"has trained these weights, and {option} takes it for testing"
                remedy = SAME_PART
                raise DataError(scene.path, fact, remedy)

    def _settings(self, learnt: Learnt) -> dict[str, object]:
        """Return all that the maps depend on, beside the image: not batch, threads, GPU, other engines."""
        deploy = read_deploy(self.deploy)
        side = deploy.side if self.tile is None else check_side("tile", self.tile)
        return {
            "task": learnt.task,
            "deploy": short_checksum(self.deploy),
            "weights": [short_checksum(path) for path in self.weights],
            "tile": side,
            "overlap": default_overlap(side) if self.overlap is None else self.overlap,
            "scales": list(self.scales),
            "flip": self.flip,
            **({"engine": CAFFE_BF16} if self.engine == CAFFE_BF16 else {}),
            "stretch": None if self.stretch is None else list(self.stretch),
            "bands": None if self.bands is None else list(self.bands),
            CLASSES: [
                "{} #{:02x}{:02x}{:02x}".format(name, *colour)
                for name, colour in zip(learnt.dataset.class_names, learnt.dataset.palette, strict=True)
            ],
            **vars(self.wanted),
        }


@contextmanager
def _progress(plan: Plan, ranks: Ranks) -> Iterator[Callable[[int], object]]:
    """Show rank 0's pixels, with the time left, where stderr is a terminal."""
    mine = share(plan.pixels, ranks.count)[ranks.number]
    total = sum(plan.pixels[number] for number in mine)
    hidden = True if ranks.number else None
    with tqdm(total=total, unit="px", unit_scale=True, disable=hidden, file=sys.stderr) as bar:
        yield bar.update
