"""The checks, the most telling first: a run may end early."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from math import isfinite
from pathlib import Path

import numpy as np

from gpu_check import caffe_tests, libraries, parity, scenes, speed, training
from gpu_check.cases import CASES
from gpu_check.deadline import Check, Deadline
from gpu_check.devices import CPU, Device
from gpu_check.isolation import ProcessDied, Worker, checked_command, run_command, run_isolated
from gpu_check.nets import FORMS, ROOT, Case, experiment, write_net
from gpu_check.rows import Row
from training.gpus import out_of_memory

NET = "dfcnet"
OTHERS = ("baseline", "classmate")
REAL = "dfcnet_256"
NO_CACHE = {"CAFFE_FUSED_CACHE_MB": "0"}  # strips and parts of images where the maps are small
TF32 = {"CAFFE_TF32": "1"}
NO_WORKSPACE = {"CAFFE_CUDNN_WORKSPACE_MB": "0"}
LOGGED = {"GLOG_minloglevel": "0"}  # Caffe's INFO lines, which name algorithms
SANITIZED = "FusedKernelsTest/2.DenseBlockOfManyPixelsTrainsAsOnTheCPU:InterpLayerTest/2.*"
SLOWEST = 12  # layers in the table
# A bundle's own Python and libraries are not another Python's; OUTER_... is what they were before.
PEER_ENVIRONMENT = {
    "PYTHONHOME": None,
    "PYTHONPATH": None,
    "LD_LIBRARY_PATH": os.environ.get("OUTER_LD_LIBRARY_PATH", os.environ.get("LD_LIBRARY_PATH")),
}
PEER_TOLERANCE = 1e-3  # between two programs in float32: probabilities; losses by their size


@dataclass(frozen=True)
class Sizes:
    """Sides in pixels: of what is compared with the CPU, of crops and tiles that are timed."""

    parity: int
    tile: int
    crops: tuple[int, ...]
    tiles: tuple[int, ...]


FULL = Sizes(129, 513, (1025, 513), (1025, 513))
QUICK = Sizes(33, 65, (65,), (65,))


@dataclass(frozen=True)
class Checks:
    """All checks of `gpus` GPUs (0: of the CPU in a GPU's place), with their files in `folder`.

    `quick`: narrow nets and small crops. `references`: a folder of answers of the CPU; what it lacks is
    computed. `peer`: a Python with PyTorch. `scenes`: a folder with land/ and road/, trained on for
    `train_seconds`.
    """

    folder: Path
    gpus: int
    quick: bool = False
    references: Path | None = None
    peer: str | None = None
    scenes: Path | None = None
    train_seconds: float = 200
    _number: Iterator[int] = field(default_factory=count)

    @property
    def device(self) -> Device:
        """The first GPU."""
        return Device(0) if self.gpus else CPU

    @property
    def sizes(self) -> Sizes:
        """How large everything is."""
        return QUICK if self.quick else FULL

    def all(self) -> list[Check]:
        """Return the checks in their order, with seconds as a data-centre GPU with 16 cores needs them."""
        return [
            Check("libraries", 5, 40, self.libraries),
            Check("our layers' own tests", 10, 60, self.our_tests),
            Check("layers", 5, 40, self.layers),
            Check(f"{NET} against the CPU", 10, 90, self.net),
            Check("prediction against the CPU", 10, 60, self.prediction),
            Check("speed, fused", 15, 130, self.fused_speeds),
            Check("speed, PyTorch", 20, 150, self.peer_speeds),
            Check("milliseconds by layer", 10, 30, self.layer_times),
            Check("20 iterations", 20, 60, self.iterations),
            Check("NCCL", 15, 60, self.nccl),
            Check("compute-sanitizer", 15, 60, self.sanitizer),
            Check("training on real scenes", 90, 60 + 1.3 * self.train_seconds, self.real_training),
            Check("the other nets against the CPU", 20, 90, self.other_nets),
            Check("speed, plain", 20, 60, self.plain_speeds),
            Check("speed, PyTorch compiled", 60, 180, self.compiled_speeds),
            Check("Caffe's own tests", 20, 180, self.caffes_tests),
        ]

    def libraries(self, deadline: Deadline) -> Iterator[Row]:
        """Say what is loaded from where; name what is not found."""
        missing = libraries.missing(deadline.left())
        yield Row("libraries found", not missing, ", ".join(missing) or "all")
        versions = run_isolated(
            libraries.versions, timeout=deadline.left(), environment=self.device.environment
        )
        yield Row(
            "versions", None, ", ".join(f"{what} {which}" for what, which in versions.items()), versions
        )
        paths = run_isolated(libraries.loaded, timeout=deadline.left(), environment=self.device.environment)
        folders = sorted({str(Path(path).parent) for path in paths.values()})
        yield Row("libraries loaded", None, ", ".join(folders), {"paths": paths})

    def our_tests(self, deadline: Deadline) -> Iterator[Row]:
        """Run our layers' tests in C++, with strips as they come and with the smallest."""
        pattern = caffe_tests.ours(self.gpus > 0)
        for words, environment in (("", {}), (", smallest strips", NO_CACHE)):
            result = caffe_tests.run_caffe_tests(
                pattern, self.device.gpu, deadline, environment={**self.device.environment, **environment}
            )
            yield Row(f"our layers' own tests{words}", result.ok, str(result))

    def layers(self, deadline: Deadline) -> Iterator[Row]:
        """Compare each layer with the CPU, all of them in one process for each device."""
        with (
            Worker(environment=self.device.environment) as here,
            Worker(environment=CPU.environment) as reference,
        ):
            known = reference.call(parity.layer_types, timeout=deadline.left())
            for case in CASES:
                name = f"layer {case.name}"
                if case.type not in known:
                    yield Row(name, False, f"this Caffe has no layer {case.type}")
                    continue
                try:
                    ours = here.call(parity.run_layer, case, self.device, timeout=deadline.share())
                    theirs = reference.call(parity.run_layer, case, CPU, timeout=deadline.share())
                except ProcessDied as error:
                    yield Row(name, False, str(error))
                    continue
                yield _compared(name, parity.compare(ours, theirs), parity.LAYER_TOLERANCE)

    def net(self, deadline: Deadline) -> Iterator[Row]:
        """Compare DFCNet's training with the CPU, in all ways that a GPU has; twice the same is the same."""
        case = self._case(NET, True, self.sizes.parity)
        yield from self._compare_net(case, deadline)
        ways = {"TF32": TF32, "no workspace": NO_WORKSPACE, "smallest strips": NO_CACHE}
        for words, environment in ways.items():
            yield from self._compare_net(case, deadline, ("fused",), words, environment)
        name = f"{case.name}, fused, the same step twice"
        try:
            differing = self._here(parity.same_bits, case, "fused", self.device, timeout=deadline.left())
        except ProcessDied as error:
            yield Row(name, False, str(error))
            return
        words = (
            f"{len(differing)} blobs differ: {' '.join(differing[:5])}" if differing else "equal to the bit"
        )
        yield Row(name, not differing, words)

    def other_nets(self, deadline: Deadline) -> Iterator[Row]:
        """Compare the training of baseline and ClassmateNet with the CPU."""
        for net in OTHERS:
            yield from self._compare_net(self._case(net, True, self.sizes.parity), deadline)

    def prediction(self, deadline: Deadline) -> Iterator[Row]:
        """Compare the probabilities of a tile of several strips with the CPU, as predict.py computes them."""
        case = self._case(NET, False, self.sizes.tile)
        yield from self._compare_net(case, deadline)
        yield from self._compare_net(case, deadline, ("fused",), "TF32", TF32)

    def _compare_net(
        self,
        case: Case,
        deadline: Deadline,
        forms: Sequence[str] = FORMS,
        words: str = "",
        environment: dict[str, str] | None = None,
    ) -> Iterator[Row]:
        theirs = self.reference(case, deadline)
        for form in forms:
            name = ", ".join(filter(None, (case.name, form, words)))
            try:
                ours = self._here(
                    parity.net_answer,
                    case,
                    form,
                    self.device,
                    timeout=deadline.share(),
                    environment=environment,
                )
            except ProcessDied as error:
                yield Row(name, False, str(error))
                continue
            tf32 = environment is TF32 and self.gpus > 0
            tolerance = parity.TF32_OUTPUT_TOLERANCE if tf32 else parity.OUTPUT_TOLERANCE
            yield _compared(f"{name}, outputs", parity.compare(ours.outputs, theirs.outputs), tolerance)
            if not theirs.gradients:
                continue
            whole = parity.compare_whole(ours.gradients, theirs.gradients)
            if tf32:  # how far apart is a measurement: rounding flips many a ReLU
                yield Row(f"{name}, gradients", isfinite(whole.value), f"{whole.value:.1e} apart")
                continue
            worst = parity.compare(ours.gradients, theirs.gradients)
            yield _compared(f"{name}, gradients", whole, parity.ALL_GRADIENTS_TOLERANCE)
            yield _compared(f"{name}, a gradient", worst, parity.GRADIENT_TOLERANCE)

    def reference(self, case: Case, deadline: Deadline) -> parity.NetOutput:
        """Return the CPU's answer to a case, of plain layers: the kept one, or a new one, which is kept."""
        folder = self.references or self.folder
        path, key = folder / f"{case.name}.npz", parity.key(case)
        answer = parity.NetOutput.load(path, key)
        if answer is None:
            how = {"timeout": deadline.left(), "environment": CPU.environment}
            answer = run_isolated(parity.net_answer, case, "plain", CPU, **how)
            folder.mkdir(parents=True, exist_ok=True)
            answer.save(path, key)
        return answer

    def reference_cases(self) -> list[Case]:
        """Return the cases that are compared with the CPU."""
        training_cases = [self._case(net, True, self.sizes.parity) for net in (NET, *OTHERS)]
        return [*training_cases, self._case(NET, False, self.sizes.tile)]

    def fused_speeds(self, deadline: Deadline) -> Iterator[Row]:
        """Time training steps and tiles of our layers, in float32 and in TF32."""
        for case, (words, environment) in product(self._timed(), (("FP32", {}), ("TF32", TF32))):
            yield from self._speed(case, "fused", words, environment, deadline)

    def plain_speeds(self, deadline: Deadline) -> Iterator[Row]:
        """Time steps and tiles of Caffe's layers, where memory suffices, and the other nets' steps."""
        for case in self._timed():
            yield from self._speed(case, "plain", "FP32", {}, deadline)
        for net in OTHERS:
            yield from self._speed(self._case(net, True, self.sizes.crops[0]), "fused", "FP32", {}, deadline)

    def _timed(self) -> list[Case]:
        crops = [self._case(NET, True, side) for side in self.sizes.crops]
        return [*crops, *(self._case(NET, False, side) for side in self.sizes.tiles)]

    def _speed(
        self, case: Case, form: str, words: str, environment: dict[str, str], deadline: Deadline
    ) -> Iterator[Row]:
        name = f"{case.name}, {form}, {words}"
        log = self.folder / f"{case.name}_{form}_{words}.log"
        try:
            measured = self._here(
                speed.speed,
                case,
                form,
                self.device,
                timeout=deadline.share(),
                environment={**LOGGED, **environment},
                log=log,
            )
        except ProcessDied as error:
            yield Row(name, None if out_of_memory(str(error)) else False, str(error))
            return
        np.savez(case.folder / f"answers_{form}_{words}.npz", **measured.answer)
        chosen = speed.algorithms(log)
        yield Row(name, None, str(measured), {**measured.numbers(), "algorithms": chosen})
        if chosen:
            yield Row(f"{name}, cuDNN", None, chosen)

    def peer_speeds(self, deadline: Deadline) -> Iterator[Row]:
        """Time PyTorch on the same nets, weights and inputs; its answers in float32 are Caffe's."""
        yield from self._peer(["fp32", "tf32", "bf16"], deadline)

    def compiled_speeds(self, deadline: Deadline) -> Iterator[Row]:
        """Time what PyTorch has compiled."""
        yield from self._peer(["bf16-compiled"], deadline)

    def _peer(self, modes: list[str], deadline: Deadline) -> Iterator[Row]:
        if self.peer is None:
            yield Row(f"PyTorch {' '.join(modes)}", None, "skipped: no --peer, a Python with PyTorch")
            return
        script, device = ROOT / "gpu_check" / "torch_speed.py", "cuda" if self.gpus else "cpu"
        for case in self._timed():
            name = f"{case.name}, PyTorch"
            kind = "train" if case.trains else "predict"
            command = [self.peer, script, case.folder, kind, device, speed.ROUNDS, *modes]
            try:
                out = checked_command(command, deadline.share(), PEER_ENVIRONMENT)
            except ProcessDied as error:
                yield Row(name, None if out_of_memory(str(error)) else False, str(error))
                continue
            for line in out.splitlines():
                said = json.loads(line)
                words = str(speed.Speed(said["seconds"], case.images, said["bytes"], {}))
                yield Row(f"{name}, {said['mode']}", None, words, said)
            yield from self._same_answers(case, name)

    def _same_answers(self, case: Case, name: str) -> Iterator[Row]:
        files = [case.folder / f"answers_{who}.npz" for who in ("fused_FP32", "fp32")]
        if not all(file.exists() for file in files):
            return
        ours, theirs = (dict(np.load(file, allow_pickle=False)) for file in files)
        distance = parity.compare({"answers": _joined(ours)}, {"answers": _joined(theirs)})
        yield _compared(f"{name}'s answers against Caffe's", distance, PEER_TOLERANCE)

    def layer_times(self, deadline: Deadline) -> Iterator[Row]:
        """Say which layers of a training step take longest."""
        case = self._case(NET, True, self.sizes.crops[0])
        times = self._here(speed.layer_times, case, "fused", self.device, timeout=deadline.left())
        total = sum(map(sum, times.values()))
        slowest = sorted(times.items(), key=lambda item: -sum(item[1]))[:SLOWEST]
        words = ", ".join(f"{name} {forward:.1f}+{backward:.1f}" for name, (forward, backward) in slowest)
        yield Row(f"{case.name}, fused, ms by layer", None, f"{total:.0f} in all: {words}", {"ms": times})

    def iterations(self, deadline: Deadline) -> Iterator[Row]:
        """Train as a user would, against the CPU; stop and resume."""
        folder = self._new_folder()
        options = training.settings(folder, 1, *self._small())
        here = training.train(folder / "device", options, self._numbers()[:1], deadline)
        cpu = training.train(folder / "cpu", options, [], deadline)
        first, last = here.distance(cpu, 0), here.distance(cpu, -1)
        ok = first <= training.FIRST_TOLERANCE and last <= training.LAST_TOLERANCE
        yield Row("20 iterations, losses against the CPU", ok, f"first {first:.1e}, last {last:.1e} apart")
        distance = training.resume_half(
            here.folder, folder / "resumed", options, self._numbers()[:1], deadline
        )
        words = f"{distance:.1e} apart from the whole run"
        yield Row("resumed at iteration 10, weights", distance <= training.RESUMED_TOLERANCE, words)

    def nccl(self, deadline: Deadline) -> Iterator[Row]:
        """Train over NCCL with one GPU, and with all against one, in both ways of averaging."""
        if not self.gpus:
            yield Row("NCCL", None, "skipped: needs a GPU")
            return
        for way, passes in training.REDUCED.items():
            try:
                yield self.alone_over_nccl(way, passes, deadline)
            except ProcessDied as error:
                yield Row(f"NCCL on one GPU, {way}", False, str(error))
        for way, passes in training.REDUCED.items():
            try:
                yield self.all_gpus(way, passes, deadline)
            except ProcessDied as error:
                yield Row(f"NCCL on {self.gpus} GPUs, {way}", False, str(error))

    def alone_over_nccl(self, way: str, passes: int, deadline: Deadline) -> Row:
        """Train on one GPU as if it were one of several."""
        folder = self._new_folder()
        exp = experiment(training.DEMO, training.settings(folder, 1, *self._small(), passes=passes))
        how = {"timeout": deadline.left()}
        size, loss = self._here(training.alone_over_nccl, exp, folder / "run", self.device, **how)
        words = f"id of {size} bytes, last loss {loss:.3f}"
        return Row(f"NCCL on one GPU, {way}", size == 128 and isfinite(loss), words)

    def all_gpus(self, way: str, passes: int, deadline: Deadline) -> Row:
        """Train the same batches on all GPUs and on one."""
        name = f"NCCL on {self.gpus} GPUs, {way}, weights"
        if self.gpus == 1:
            return Row(name, None, "skipped: this machine has one")
        folder = self._new_folder()
        distance = training.all_against_one(folder, self._numbers(), passes, deadline, *self._small())
        words = f"{distance:.1e} apart from one GPU's of the same batches"
        return Row(name, distance <= training.SHARED_TOLERANCE, words)

    def sanitizer(self, deadline: Deadline) -> Iterator[Row]:
        """Run some of our layers' tests under CUDA's memory checker."""
        name, program = "compute-sanitizer", shutil.which("compute-sanitizer")
        if not self.gpus or not program:
            yield Row(name, None, f"skipped: {'not on PATH' if self.gpus else 'needs a GPU'}")
            return
        command = [program, caffe_tests.test_program(), f"--gtest_filter={SANITIZED}", self.device.gpu]
        out, err, code = run_command(command, deadline.left(), NO_CACHE)
        summary = re.search(r"ERROR SUMMARY: (\d+) error", out + err)
        ok = code == 0 and summary is not None and summary[1] == "0"
        words = f"{len(re.findall(r'^.       OK ]', out, re.M))} tests, "
        yield Row(name, ok, words + (summary[0] if summary else (err or out).strip()[-200:]))

    def real_training(self, deadline: Deadline) -> Iterator[Row]:
        """Train DFCNet on real scenes for some minutes, and score scenes that it has not seen."""
        name = "training on real scenes"
        if self.scenes is None:
            yield Row(name, None, "skipped: no --scenes")
            return
        yield scenes.train(
            self.scenes,
            self._new_folder(),
            REAL if not self.quick else training.DEMO,
            self._numbers()[:1],
            min(self.train_seconds, 0.7 * deadline.left()),
            deadline,
        )

    def caffes_tests(self, deadline: Deadline) -> Iterator[Row]:
        """Run Caffe's tests of the layers that our nets are made of."""
        pattern = caffe_tests.ON_GPU if self.gpus else caffe_tests.ON_CPU
        environment = self.device.environment
        result = caffe_tests.run_caffe_tests(pattern, self.device.gpu, deadline, environment=environment)
        yield Row("Caffe's own tests", result.ok, str(result))

    def _here(self, function, *arguments, environment: dict[str, str] | None = None, **how):
        both = {**self.device.environment, **(environment or {})}
        return run_isolated(function, *arguments, environment=both, **how)

    def _case(self, net: str, trains: bool, side: int) -> Case:
        return write_net(self.folder / "nets", net, trains, side, self.quick)

    def _small(self) -> list[str]:
        return ["input.crop=33"] if self.quick else []

    def _numbers(self) -> list[int]:
        return list(range(self.gpus))

    def _new_folder(self) -> Path:
        folder = self.folder / str(next(self._number))
        folder.mkdir()
        return folder


def _joined(answers: parity.Blobs) -> np.ndarray:
    """Return the values of a net's outputs, which two programs need not call the same, in one array."""
    return np.concatenate([blob.ravel() for _, blob in sorted(answers.items())])


def _compared(name: str, distance: parity.Distance, tolerance: float) -> Row:
    where = f" ({distance.blob})" if distance.value else ""
    words = f"{distance.value:.1e} of {tolerance:.0e}{where}"
    return Row(name, distance.within(tolerance), words, {"distance": distance.value})
