"""Nets and solvers as prototxt text, checked by protobuf where Caffe is installed, and as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import ExperimentError, NetError
from common.files import refuse_existing, staged_file, staged_folder
from common.templates import templates
from prototxt_gen.caffe_proto import caffe_pb2, find_caffe_pb2
from prototxt_gen.experiment import Experiment
from prototxt_gen.layers import Net, literal, quoted
from prototxt_gen.models import DEPLOY, TRAIN, build, class_weights_file


@dataclass(frozen=True)
class Command:
    """What the header of an emitted file names: a tool with its arguments, and the TOML file to change."""

    words: str
    source: str


def net_text(net: Net, header: Sequence[str]) -> str:
    """Return a net's prototxt; raise NetError if protobuf cannot parse it."""
    return _checked(_rendered(net, header), "NetParameter", net.name)


def net_message(net: Net):
    """Return a net as Caffe's NetParameter."""
    return _parsed(_rendered(net, []), "NetParameter", net.name)


def _rendered(net: Net, header: Sequence[str]) -> str:
    return _template("net").render(header=header, name=net.name, sections=net.sections)


def _template(name: str):
    ours = templates("prototxt", autoescape=False, keep_trailing_newline=True)
    return ours.get_template(f"{name}.prototxt.j2")


def solver_text(
    exp: Experiment,
    net: str,
    snapshot_prefix: str,
    mode: str,
    header: Sequence[str],
    ranks: int | None = None,
    snapshots: bool = True,
) -> str:
    """Return a solver's prototxt for `ranks` processes (default: the experiment's), `mode` "CPU" or "GPU".

    Without `snapshots` Caffe writes none by itself.
    """
    try:
        iter_size = exp.iter_size(ranks)
    except ValueError as error:
        fact, _, remedy = str(error).rpartition("; ")
        raise ExperimentError(exp.name, fact, remedy) from error
    words = exp.solver.model_dump(include={"type", "lr_policy", "regularization_type"}, exclude_none=True)
    excluded = {"batch_size", "ranks", "images_per_pass", "keep_snapshots", "validate_every", *words}
    if not snapshots:
        excluded.add("snapshot")
    settings = exp.solver.model_dump(exclude=excluded, exclude_none=True)
    fields = [("net", quoted(net)), *((key, quoted(word)) for key, word in words.items())]
    for key, value in settings.items():
        fields += [(key, literal(item)) for item in (value if isinstance(value, tuple) else [value])]
    fields += [
        ("iter_size", literal(iter_size)),
        # A sum over the GPUs may only begin once the last pass has added its gradients.
        ("layer_wise_reduce", literal(iter_size == 1)),
        ("snapshot_prefix", quoted(snapshot_prefix)),
        ("solver_mode", mode),
    ]
    text = _template("solver").render(header=header, fields=fields)
    return _checked(text, "SolverParameter", exp.name)


def _checked(text: str, message: str, name: str) -> str:
    """Return `text` if protobuf parses it as `message`, or if there is no Caffe to ask."""
    if find_caffe_pb2() is not None:
        _parsed(text, message, name)
    return text


def _parsed(text: str, message: str, name: str):
    """Return `text` parsed as `message`; raise NetError if protobuf cannot."""
    from google.protobuf import text_format

    try:
        return text_format.Parse(text, getattr(caffe_pb2(), message)())
    except text_format.ParseError as error:
        remedy = "fix the template or the layer's fields"
        raise NetError(name, f"is not a {message} ({error})", remedy) from error


def header(exp: Experiment, title: str, command: Command | None = None) -> list[str]:
    """Return the comment that opens an emitted file; `command` is by default that of a committed one."""
    command = command or Command(f"make_net.py {exp.name}", f"solvers/{exp.name}/experiment.toml")
    lines = [
        f"{title} of {exp.name}: {exp.model} of the paper's Dense Fusion Classmate Network.",
        f"Emitted by `python tools/{command.words}`;",
        f"change {command.source}, not this.",
    ]
    return [" ".join(line.splitlines()) for line in lines]  # a line break would end the comment


def net_texts(
    exp: Experiment, folder: Path, heads: Sequence[str] | None = None, command: Command | None = None
) -> dict[str, str]:
    """Return file name -> prototxt of an experiment's nets for training and deployment, to stand in `folder`.

    `heads` are the tasks of the deploy net (default: all).
    """
    forms = {TRAIN: "Train net", DEPLOY: "Deploy net"}
    return {
        f"{phase}.prototxt": net_text(
            build(exp, phase, None if phase == TRAIN else heads, folder=str(folder)),
            header(exp, title, command),
        )
        for phase, title in forms.items()
    }


def class_weights(exp: Experiment) -> dict[str, bytes]:
    """Return file name -> infogain matrix (BlobProto, classes x classes) of tasks that weigh classes."""
    files = {}
    for name, task in exp.tasks.items():
        if task.class_weights is not None:
            size = task.classes
            diagonal = [task.class_weights[i] if i == j else 0.0 for i in range(size) for j in range(size)]
            blob = caffe_pb2().BlobProto(data=diagonal)
            blob.shape.dim.extend((size, size))
            files[Path(class_weights_file("", name)).name] = blob.SerializeToString()
    return files


def write_files(
    folder: Path, texts: dict[str, str], binaries: dict[str, bytes], overwrite: bool
) -> list[Path]:
    """Write files into a new folder, all or none; or beside other files into one that exists."""
    contents = {name: text.encode() for name, text in texts.items()} | binaries
    if folder.is_dir():
        for name in contents:
            refuse_existing(folder / name, overwrite)
        for name, content in contents.items():
            with staged_file(folder / name) as staged:
                staged.write_bytes(content)
    else:
        with staged_folder(folder, overwrite) as staged:
            for name, content in contents.items():
                (staged / name).write_bytes(content)
    return [folder / name for name in contents]


def write_nets(
    exp: Experiment,
    out: Path,
    overwrite: bool,
    mode: str = "GPU",
    heads: Sequence[str] | None = None,
    command: Command | None = None,
) -> list[Path]:
    """Write train, deploy and solver prototxts of an experiment into `out`; return paths.

    The solver refers to the train net as `out`/train.prototxt: Caffe resolves it in the working folder.
    """
    texts = net_texts(exp, out, heads, command)
    solver = header(exp, "Solver", command)
    texts["solver.prototxt"] = solver_text(exp, f"{out}/train.prototxt", f"runs/{exp.name}", mode, solver)
    return write_files(out, texts, class_weights(exp), overwrite)
