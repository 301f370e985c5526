"""What a run trained, from its folder: experiment, log and weights, as lines of a table."""

from pathlib import Path
from statistics import median

from pydantic import ValidationError

from common.errors import DataError
from common.files import short_checksum
from common.numbers import plural
from data_prep.manifest import DATA, read_manifest
from prototxt_gen.experiment import Experiment
from prototxt_gen.models import TRAIN, build
from training.curves import read_steps
from training.provenance import describe_weights, read_provenance
from training.run import EXPERIMENT, Run, other_version

GIB = 2**30


def read_run(folder: Path) -> Run:
    """Return the run that tools/train.py wrote into `folder`.

    Raises DataError where it is not one, ExperimentError where another version wrote it.
    """
    path = Path(folder) / EXPERIMENT
    try:
        return Run(Experiment.model_validate_json(path.read_bytes()), Path(folder))
    except OSError as error:
        remedy = "give a folder that dfcnet train wrote"
        raise DataError(path, f"cannot be read ({error.strerror})", remedy) from error
    except ValidationError as error:
        raise other_version(path, error) from error


def facts(run: Run) -> list[tuple[str, str]]:
    """Return what was trained, on what and how: (name, value) of each line."""
    exp = run.experiment
    solver, net = exp.solver, build(exp, TRAIN)
    steps = read_steps(run.log)
    done = f"{steps[-1]['iteration']:,}" if steps else "fewer than display"
    lines = [
        ("Net", f"{exp.model}, {len(net.layers)} layers, {net.parameters():,} parameters"),
        *((f"Records of {task}", _records(Path(exp.tasks[task].source))) for task in exp.task_names()),
        *((f"Held out of {task}", _held_out(Path(exp.tasks[task].source))) for task in exp.task_names()),
        ("Started from", _start(run)),
        ("Bands", _bands(exp)),
        ("Crop", f"{exp.input.crop} x {exp.input.crop} pixels"),
        ("Batch", f"{solver.batch_size} crops an iteration"),
        ("Solver", _solver(exp)),
        ("Iterations", f"{done} of {solver.max_iter:,}"),
        ("Seed", str(solver.random_seed)),
    ]
    speeds = [step["images_per_second"] for step in steps if "images_per_second" in step]
    if speeds:
        lines.append(("Speed", f"{median(speeds):.1f} images a second (median)"))
    memory = [step["memory"] for step in steps if step.get("memory")]
    if memory:
        lines.append(("Memory", f"{max(memory) / GIB:.2f} GiB at most in the first process"))
    if run.weights.exists():
        lines.append(("Weights", f"{run.weights.name}, SHA-256 {short_checksum(run.weights)}…"))
    return lines


def _start(run: Run) -> str:
    """Return from which weights; a folder that an older version made does not say."""
    recorded = read_provenance(run.folder)
    return "not recorded" if recorded is None else describe_weights(recorded.weights)


def _solver(exp: Experiment) -> str:
    solver = exp.solver
    power = f", power {solver.power:g}" if solver.lr_policy == "poly" and solver.power is not None else ""
    return (
        f"{solver.type}, learning rate {solver.base_lr:g} ({solver.lr_policy}{power}), "
        f"momentum {solver.momentum:g}, weight decay {solver.weight_decay:g}"
    )


def _bands(exp: Experiment) -> str:
    """Return the bands with what is subtracted and multiplied, and what of more than 8 bits is 0 and 255."""
    pairs = zip(exp.input.bands, exp.input.mean, strict=True)
    means = ", ".join(f"{band} - {mean:g}" for band, mean in pairs)
    stretches = dict.fromkeys(task.dataset.stretch_text for task in exp.tasks.values())
    return f"({means}) x {exp.input.scale:g}; stretch {' and '.join(stretches)} of more than 8 bits"


def _held_out(source: Path) -> str:
    """Return by which rule scenes were kept out of a database, where it still stands."""
    if not (source / DATA).is_file():
        return "not known: the database is not there"
    split = read_manifest(source).get("split") or {}
    if "hold_out" in split:
        return f"1 of every {split['hold_out']} scenes, by id"
    if "file" in split:
        return f"the test part of {split['file']}"
    left_out = len(split.get("leave_out", ()))
    return f"{plural(left_out, 'scene')} by a list" if left_out else "no scene"


def _records(source: Path) -> str:
    """Return how many records of how many scenes a database holds, where it still stands."""
    if not (source / DATA).is_file():
        return str(source)
    manifest = read_manifest(source)
    records, inputs = manifest.get("records"), manifest.get("inputs")
    if records is None or inputs is None:
        return str(source)
    return f"{records:,} from {plural(len(inputs), 'scene')} ({source})"
