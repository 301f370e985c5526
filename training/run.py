"""The folder of a training run: runs/<name>/ with its prototxts, log, snapshots and weights."""

import fcntl
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from common.errors import DataError, DFCNetError, ExperimentError, OutputError, WeightsError, reason
from common.files import file_checksum, staged_folder
from common.locks import WITHOUT
from common.numbers import plural
from common.settings import ROOT, difference_text, explain_error, first_difference
from data_prep.datums import from_datum, open_datums
from data_prep.manifest import DATA, read_manifest
from prototxt_gen.cost import process_bytes, solver_history
from prototxt_gen.emit import Command, class_weights, header, net_texts, solver_text, write_files
from prototxt_gen.experiment import Experiment, Input, Task
from prototxt_gen.model_card import ModelCard, read_card
from prototxt_gen.models import TRAIN, build
from training.provenance import PROVENANCE_FILE, Provenance, check_provenance, read_provenance
from training.snapshots import STAGED
from training.weights import Coverage, match_weights

MODELS = ROOT / "models"  # trained nets that come with the project: deploy net, weights, card, README
DEPLOY_FILE, WEIGHTS_FILE = "deploy.prototxt", "weights.caffemodel"
EXPERIMENT = "experiment.json"  # the settings that a run was started with


@dataclass(frozen=True)
class Run:
    """An experiment and the folder it runs in."""

    experiment: Experiment
    folder: Path

    @property
    def solver(self) -> Path:
        """The solver prototxt."""
        return self.folder / "solver.prototxt"

    @property
    def deploy(self) -> Path:
        """The deploy prototxt."""
        return self.folder / DEPLOY_FILE

    @property
    def log(self) -> Path:
        """One JSON object a line: iteration, losses, learning rate, speed."""
        return self.folder / "log.jsonl"

    @property
    def weights(self) -> Path:
        """The final weights, with their model card beside them."""
        return self.folder / WEIGHTS_FILE

    @property
    def snapshots(self) -> Path:
        """The folder of snapshots, see training/snapshots.py."""
        return self.folder / "snapshots"

    def is_done(self) -> bool:
        """Return whether the final weights are there, and whole."""
        card = read_card(self.weights) if self.weights.exists() else None
        if card is None or card.iteration != self.experiment.solver.max_iter:
            return False
        try:
            match_weights(build(self.experiment, TRAIN).parameter_shapes(), self.weights, Coverage.FULL)
        except WeightsError:
            return False
        return True

    def summary(self) -> str:
        """Return in a line what will be trained."""
        exp = self.experiment
        net = build(exp, TRAIN)
        return (
            f"{self.folder}: {exp.model} of {len(net.layers)} layers and {net.parameters():,} parameters, "
            f"{' and '.join(exp.task_names())}, {exp.solver.batch_size} crops of {exp.input.crop} x "
            f"{exp.input.crop} an iteration, seed {exp.solver.random_seed}; on a CPU about "
            f"{process_bytes(net, solver_history(exp.solver.type)) / 1e9:.2g} GB of memory a rank"
        )

    def caffe_log(self, rank: int) -> Path:
        """What Caffe wrote in one rank."""
        return self.folder / ("caffe.log" if rank == 0 else f"caffe.{rank}.log")

    def card(self, iteration: int) -> ModelCard:
        """Return the card of weights after `iteration` updates."""
        exp, recorded = self.experiment, read_provenance(self.folder)
        return ModelCard(
            experiment=exp.name,
            model=exp.model,
            iteration=iteration,
            bands=exp.input.bands,
            mean=exp.input.mean,
            scale=exp.input.scale,
            crop=exp.input.crop,
            tasks={name: task.dataset for name, task in exp.tasks.items()},
            started_from=recorded and recorded.weights,
            trained_on=recorded and recorded.trained_on,
        )


def check_data(exp: Experiment, checksums: bool = True) -> None:
    """Raise DataError where a database is missing, too small for the crop, or of other classes or bands.

    Caffe would end the process, or with a label outside the classes write outside its memory. With
    `checksums` each database is read from end to end, and refused where it is damaged.
    """
    for task, settings in exp.tasks.items():
        for source in filter(None, (settings.source, settings.validation)):
            part = " --hold-out K --part test" if source == settings.validation else ""
            _check_database(Path(source), task, settings, exp.input, part, checksums)
        _check_locks(Path(settings.source))


# Of a data set, what its records depend on.
OF_RECORDS = ("classes", "ignore", "tolerance", "bands", "resize", "stretch")


def _check_database(
    source: Path, task: str, settings: Task, net_input: Input, part: str, checksums: bool
) -> None:
    again = f"build it with dfcnet build-lmdb EXPERIMENT {task} --images DIR{part}"
    if not source.exists():
        raise DataError(source, "does not exist", again)
    again += " --overwrite"
    if not (source / DATA).is_file():
        raise DataError(source, "is not an LMDB", again)
    manifest, dataset = read_manifest(source), settings.dataset
    if difference := dataset.difference(manifest["dataset"]):
        remedy = f"give a database of {dataset.name} as source of {task}"
        raise DataError(source, f"has {difference} as {dataset.name} has", remedy)
    if tuple(manifest["bands"]) != net_input.bands:
        fact = (
            f"holds the bands {', '.join(manifest['bands'])}, the experiment has {', '.join(net_input.bands)}"
        )
        raise DataError(source, fact, again)
    if not any(manifest.get("pixels", {name: 1}).get(name) for name in dataset.class_names):
        fact = f"has no pixel of a class of {dataset.name}: nothing could be learnt"
        raise DataError(source, fact, "build it of labelled scenes")
    if "mean" in manifest and tuple(manifest["mean"]) != net_input.mean:
        filled = " ".join(map(str, manifest["mean"]))
        fact = f"is filled with {filled} where a scene ends, the experiment has mean {list(net_input.mean)}"
        raise DataError(source, fact, again)
    if manifest["side"] < net_input.crop:
        fact = f"holds records of {manifest['side']} pixels, the crop is {net_input.crop}"
        raise DataError(source, fact, again)
    before, now = (each.model_dump(include=set(OF_RECORDS)) for each in (manifest["dataset"], dataset))
    if difference := first_difference(before, now):
        fact = f"was built when {dataset.name} had {difference_text(difference)}"
        raise DataError(source, fact, f"{again}, or give the data set's file as it was")
    _check_records(source, manifest, again, checksums)


def _check_records(source: Path, manifest: dict, remedy: str, checksums: bool) -> None:
    """Raise DataError where a manifest is of other records, as when one of the two files was copied alone.

    The checksum comes first: a damaged file can end the process that maps it, this one or Caffe's.
    """
    data = source / DATA
    if checksums and manifest.get("data_mdb_sha256") not in (None, file_checksum(data)):
        raise DataError(data, "is not the file that the manifest describes (checksum)", remedy)
    with open_datums(source, remedy) as (count, datums):
        _, first = next(datums, ("", None))
    if first is None:
        raise DataError(source, "holds no record", remedy)
    expected = manifest.get("records", count), (len(manifest["bands"]) + 1, *[manifest["side"]] * 2)
    shape = from_datum(first, source).shape
    if (count, shape) != expected:
        fact = f"holds {plural(count, 'record')} of {shape}, its manifest says {expected[0]} of {expected[1]}"
        raise DataError(source, fact, remedy)


def _check_locks(source: Path) -> None:
    """Raise DataError where the file system has no locks: the Data layer's LMDB would end the process.

    A database that may only be read needs none.
    """
    path = source / "lock.mdb"
    new = not path.exists()
    try:
        with path.open("a+b") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1)
    except OSError as error:
        if error.errno not in WITHOUT:
            return
        if new:
            path.unlink()
        fact = f"is on a file system without locks ({error.strerror}), which Caffe needs to read it"
        raise DataError(source, fact, "copy it to a local disk") from error


def overlapping_scenes(exp: Experiment) -> Iterator[str]:
    """Yield a line for each task whose validation database has scenes that train, known by their images."""
    for settings in exp.tasks.values():
        if settings.validation:
            trained, tested = (_images(Path(db)) for db in (settings.source, settings.validation))
            shared = sorted(id for image, id in tested.items() if image in trained)
            if shared:
                overlap = f"{plural(len(shared), 'scene')} in common with {settings.source}, as {shared[0]}"
                yield f"{settings.validation} has {overlap}: its scores will mislead"


def _images(source: Path) -> dict[str, str]:
    """Return the ids of a database's scenes by the SHA-256 of their images."""
    return {entry["image_sha256"]: entry["id"] for entry in read_manifest(source).get("inputs", [])}


def open_run(
    exp: Experiment,
    folder: Path,
    ranks: int,
    gpu: bool,
    weights: Sequence[Path] = (),
    coverage: Coverage = Coverage.PARTIAL,
    overwrite: bool = False,
    resume: bool = False,
    command: Command | None = None,
) -> Run:
    """Check databases and weights, then make the run's folder with its prototxts for `ranks` processes.

    With `resume` a folder that is there is kept: it must have been started with this experiment and database,
    and with these weights, if any are given (ExperimentError); or, with `overwrite` too, it is replaced.
    """
    run = Run(exp, Path(folder))
    check_data(exp, checksums=not (resume and run.solver.exists()))  # a resumed run has no time for them
    shapes = build(exp, TRAIN).parameter_shapes()
    for path in weights:
        match_weights(shapes, path, coverage, exp)
    texts = _texts(run, ranks, gpu, command)
    provenance = Provenance.of(exp, weights)
    if run.solver.exists() and not (resume or overwrite):
        remedy = "give --resume to continue it, or --overwrite to start over"
        raise OutputError(run.folder, "exists already", remedy)
    conflict = _other_run(run, provenance) if resume and run.solver.exists() else None
    if conflict and not overwrite:
        raise conflict
    if resume and run.solver.exists() and not conflict:
        write_files(run.folder, texts, class_weights(exp), overwrite=True)
    else:
        with staged_folder(run.folder, overwrite, markers=(run.solver.name,)) as staged:
            (staged / run.snapshots.name).mkdir()
            write_files(
                staged, {**texts, PROVENANCE_FILE: provenance.text()}, class_weights(exp), overwrite=True
            )
    return run


def _texts(run: Run, ranks: int, gpu: bool, command: Command | None) -> dict[str, str]:
    """Return file name -> text of the run's prototxts and settings."""
    exp, mode = run.experiment, "GPU" if gpu else "CPU"
    comment = header(exp, f"Solver for {ranks} process(es)", command)
    net, prefix = str(run.folder / "train.prototxt"), str(run.snapshots / STAGED)
    return {
        **net_texts(exp, run.folder, command=command),
        "solver.prototxt": solver_text(exp, net, prefix, mode, comment, ranks, snapshots=False),
        EXPERIMENT: json.dumps(_as_json(exp), indent=1) + "\n",
    }


def _as_json(exp: Experiment) -> dict:
    return exp.model_dump(mode="json", exclude_none=True)


def _other_run(run: Run, provenance: Provenance) -> DFCNetError | None:
    """Return an error that names the difference, if the folder's run is another one."""
    if conflict := _other_experiment(run):
        return conflict
    try:
        check_provenance(run.folder, provenance)
    except DFCNetError as error:
        return error
    return None


def _other_experiment(run: Run) -> ExperimentError | None:
    """Return an error that names a setting, if the folder belongs to another experiment."""
    path = run.folder / EXPERIMENT
    try:
        begun_with = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        return ExperimentError(path, f"cannot be read ({reason(error)})", "start over with --overwrite")
    try:
        Experiment.model_validate(begun_with)
    except ValidationError as error:
        return other_version(path, error)
    difference = first_difference(begun_with, _as_json(run.experiment))
    if not difference:
        return None
    remedy = "resume with the same experiment, or choose another --run"
    return ExperimentError(run.folder, f"was started with {difference_text(difference)}", remedy)


def other_version(path: Path, error: ValidationError) -> ExperimentError:
    """Return the error of a run whose settings, in `path`, another version has recorded."""
    fact = f"is of another version of this project ({explain_error(error, Experiment)[0]})"
    remedy = f"begin another --run with --weights {path.with_name(WEIGHTS_FILE)}, or that of a snapshot"
    return ExperimentError(path, fact, remedy)


def shipped_model(name: str) -> Path:
    """Return the folder of a net of models/; WeightsError where none has the name."""
    names = sorted(path.parent.name for path in MODELS.glob(f"*/{WEIGHTS_FILE}"))
    if name not in names:
        remedy = f"give {' or '.join(names)}, or a folder elsewhere by --run"
        raise WeightsError(f"--model {name}", "is not a model of models/", remedy)
    return MODELS / name


def gpu_numbers(text: str) -> list[int]:
    """Parse "0-7" or "0,2,3" into GPU numbers; raise ExperimentError if it is neither."""
    try:
        parts = [[int(edge) for edge in part.split("-")] for part in text.split(",")]
        numbers = [n for part in parts for n in range(part[0], part[-1] + 1)]
        if not numbers or len(set(numbers)) < len(numbers) or any(len(part) > 2 for part in parts):
            raise ValueError
    except ValueError:
        raise ExperimentError("--gpus", f"cannot read {text!r}", "write 0-7, or 0,2,3") from None
    return numbers
