"""The checks in their order; each gives a row of the table, and none stops the others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from math import isfinite
from pathlib import Path

from gpu_check import own_tests, parity, speed, training
from gpu_check.cases import CASES
from gpu_check.devices import Device
from gpu_check.isolation import Died, isolated
from prototxt_gen.experiment import read_experiment
from training.gpus import out_of_memory

SOLVERS = training.ROOT / "solvers"
MODELS = ("baseline", "classmate", "dfcnet")
PARITY_CROP = 129
TRAIN_CROPS = (1025, 769, 513, 257)  # the paper's first, then what fits
TILES = (513, 1025)
CPU = Device()


@dataclass(frozen=True)
class Form:
    """Of what layers the nets are made: Caffe's, or ours that do several at once."""

    name: str
    settings: tuple[str, ...]


FORMS = tuple(Form(name, (f"densenet.dense_block='{name}'",)) for name in ("plain", "fused"))


@dataclass(frozen=True)
class Row:
    """A line of the table; `ok` None: a measurement, or something that this machine cannot show."""

    name: str
    ok: bool | None
    words: str

    def __str__(self) -> str:
        """Return the line."""
        word = {True: "ok", False: "FAILED", None: ""}[self.ok]
        return f"{word:<7}{self.name:<42}{self.words}"


class Checks:
    """All checks of `gpus` GPUs (0: of the CPU in a GPU's place), with their files in `folder`."""

    def __init__(self, folder: Path, gpus: int, quick: bool = False) -> None:
        """Nothing is run yet."""
        self.gpus = list(range(gpus))
        self.device = Device(0) if gpus else CPU
        self.quick = quick
        self._root = folder
        self._number = count()

    def rows(self) -> Iterator[Row]:
        """Run the checks one after another."""
        yield from self.layers()
        yield from self.nets()
        yield self.own_tests()
        yield from self.trainings()
        yield from self.train_speeds()
        yield from self.tile_speeds()

    def layers(self) -> Iterator[Row]:
        """Compare each layer with the CPU."""
        known = isolated(parity.layer_types)
        for case in CASES:
            name = f"layer {case.name}"
            if case.type not in known:
                yield Row(name, False, f"this Caffe has no layer {case.type}")
                continue
            yield self._compared(
                name, parity.LAYER_TOLERANCE, lambda case=case: parity.layer_parity(case, self.device, CPU)
            )

    def nets(self) -> Iterator[Row]:
        """Compare the paper's nets with the CPU: forward, then gradients."""
        crop = 33 if self.quick else PARITY_CROP
        for model, form in product(MODELS, FORMS):
            settings = [*form.settings, f"input.crop={crop}", "solver.images_per_pass=1"]
            exp = read_experiment(SOLVERS / model / "experiment.toml", settings)
            name = f"net {model}, {form.name}, at {crop}"
            try:
                outputs, gradients, whole = parity.net_parity(exp, self.device, CPU)
            except Died as error:
                yield Row(name, False, str(error))
                continue
            yield _row(f"{name}, forward", outputs, parity.OUTPUT_TOLERANCE)
            yield _row(f"{name}, a gradient", gradients, parity.GRADIENT_TOLERANCE)
            yield _row(f"{name}, gradients", whole, parity.ALL_GRADIENTS_TOLERANCE)

    def own_tests(self) -> Row:
        """Run Caffe's tests."""
        pattern = own_tests.ON_GPU if self.gpus else own_tests.ON_CPU
        result = own_tests.run_own_tests(pattern, self.device.gpu)
        words = f"{result.passed} passed"
        if result.failed:
            words += f", {len(result.failed)} failed: {' '.join(result.failed[:5])}; {result.last_line}"
        return Row("Caffe's own tests", result.passed > 0 and not result.failed, words)

    def trainings(self) -> Iterator[Row]:
        """Train on one device, against the CPU; stop and resume; over NCCL alone; on all, against one."""
        folder = self._folder()
        options = training.settings(folder, 1)
        try:
            here = training.train(folder / "device", options, self.gpus[:1])
            cpu = training.train(folder / "cpu", options, [])
        except Died as error:
            yield Row("20 iterations", False, str(error))
            return
        first, last = here.distance(cpu, 0), here.distance(cpu, -1)
        ok = first <= training.FIRST_TOLERANCE and last <= training.LAST_TOLERANCE
        yield Row("20 iterations, losses against the CPU", ok, f"first {first:.1e}, last {last:.1e} apart")
        yield self._resumed(here, folder, options)
        if self.gpus:
            for over_nccl in (self._alone_over_nccl, self._all_gpus):
                yield from (over_nccl(way, passes) for way, passes in training.REDUCED.items())

    def _resumed(self, whole: training.Training, folder: Path, options: list[str]) -> Row:
        name = "resumed at iteration 10, weights"
        try:
            distance = training.resume_half(whole.folder, folder / "resumed", options, self.gpus[:1])
        except Died as error:
            return Row(name, False, str(error))
        return Row(name, distance <= training.RESUMED_TOLERANCE, f"{distance:.1e} apart from the whole run")

    def _alone_over_nccl(self, way: str, passes: int) -> Row:
        name = f"NCCL on one GPU, {way}"
        folder = self._folder()
        exp = read_experiment(
            SOLVERS / "dfcnet_demo" / "experiment.toml", training.settings(folder, 1, passes=passes)
        )
        try:
            size, loss = isolated(training.alone_over_nccl, exp, folder / "run", self.device)
        except Died as error:
            return Row(name, False, str(error))
        return Row(name, size == 128 and isfinite(loss), f"id of {size} bytes, last loss {loss:.3f}")

    def _all_gpus(self, way: str, passes: int) -> Row:
        name = f"NCCL on {len(self.gpus)} GPUs, {way}, weights"
        if len(self.gpus) == 1:
            return Row(name, None, "this machine has one")
        try:
            small = ["input.crop=33"] if self.quick else []
            distance = training.all_against_one(self._folder(), self.gpus, passes, *small)
        except Died as error:
            return Row(name, False, str(error))
        words = f"{distance:.1e} apart from one GPU's of the same batches"
        return Row(name, distance <= training.SHARED_TOLERANCE, words)

    def train_speeds(self) -> Iterator[Row]:
        """Time the paper's train steps at the largest crop that fits."""
        for model, form in product(MODELS, FORMS):
            for crop in (33,) if self.quick else TRAIN_CROPS:
                path = SOLVERS / model / "experiment.toml"
                function = partial(speed.train_speed, path, crop, form.settings)
                row = self._measured(f"train {model}, {form.name}, at {crop}", function)
                yield row
                if row.ok is None and "GiB" in row.words:
                    break

    def tile_speeds(self) -> Iterator[Row]:
        """Time the prediction of tiles."""
        plain, fused = FORMS
        for folded, form in ((True, plain), (False, plain), (False, fused)):
            for side in (33,) if self.quick else TILES:
                function = partial(
                    speed.tile_speed, SOLVERS / "dfcnet" / "experiment.toml", folded, side, form.settings
                )
                name = "folded" if folded else form.name
                yield self._measured(f"tile of {side}, {name}", function)

    def _measured(self, name: str, function: Callable) -> Row:
        try:
            return Row(name, None, str(isolated(function, self._folder(), self.device)))
        except Died as error:
            words = str(error)
            return Row(name, None if out_of_memory(words) else False, words)

    def _compared(self, name: str, tolerance: float, function: Callable) -> Row:
        try:
            return _row(name, function(), tolerance)
        except Died as error:
            return Row(name, False, str(error))

    def _folder(self) -> Path:
        folder = self._root / str(next(self._number))
        folder.mkdir()
        return folder


def _row(name: str, distance: parity.Distance, tolerance: float) -> Row:
    where = f" ({distance.blob})" if distance.value else ""
    return Row(name, distance.within(tolerance), f"{distance.value:.1e} of {tolerance:.0e}{where}")
