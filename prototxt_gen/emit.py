"""Nets and solvers as prototxt text, checked by protobuf where Caffe is installed, and as files."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2

from prototxt_gen.caffe_proto import find_caffe_pb2
from prototxt_gen.errors import ExperimentError, NetError
from prototxt_gen.experiment import Experiment
from prototxt_gen.files import staged_folder, write_text
from prototxt_gen.layers import Net, literal, quoted
from prototxt_gen.models import DEPLOY, TRAIN, build

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def net_text(net: Net, header: Sequence[str]) -> str:
    """Return a net's prototxt; raise NetError if protobuf cannot parse it."""
    text = (
        _templates()
        .get_template("net.prototxt.j2")
        .render(header=header, name=net.name, sections=net.sections)
    )
    return _parsed(text, "NetParameter", net.name)


def solver_text(
    exp: Experiment,
    net: str,
    snapshot_prefix: str,
    mode: str,
    header: Sequence[str],
    ranks: int | None = None,
) -> str:
    """Return a solver's prototxt for `ranks` processes (default: the experiment's), `mode` "CPU" or "GPU"."""
    try:
        iter_size = exp.iter_size(ranks)
    except ValueError as error:
        raise ExperimentError(
            exp.name, str(error), "change batch_size, images_per_pass or the ranks"
        ) from error
    words = exp.solver.model_dump(include={"type", "lr_policy", "regularization_type"}, exclude_none=True)
    own = {"batch_size", "ranks", "images_per_pass", *words}
    given = exp.solver.model_dump(exclude=own, exclude_none=True)
    fields = [("net", quoted(net)), *((key, quoted(word)) for key, word in words.items())]
    for key, value in given.items():
        fields += [(key, literal(item)) for item in (value if isinstance(value, tuple) else [value])]
    fields += [
        ("iter_size", literal(iter_size)),
        # A sum over the GPUs may only begin once the last pass has added its gradients.
        ("layer_wise_reduce", literal(iter_size == 1)),
        ("snapshot_prefix", quoted(snapshot_prefix)),
        ("solver_mode", mode),
    ]
    text = _templates().get_template("solver.prototxt.j2").render(header=header, fields=fields)
    return _parsed(text, "SolverParameter", exp.name)


def _parsed(text: str, message: str, name: str) -> str:
    """Return `text` if protobuf parses it as `message`, or if there is no Caffe to ask."""
    caffe_pb2 = find_caffe_pb2()
    if caffe_pb2 is not None:
        from google.protobuf import text_format

        try:
            text_format.Parse(text, getattr(caffe_pb2, message)())
        except text_format.ParseError as error:
            raise NetError(
                name, f"is no {message} ({error})", "mend the template or the layer's fields"
            ) from error
    return text


def header(exp: Experiment, what: str) -> list[str]:
    """Return the comment that opens an emitted file."""
    return [
        f"{what} of {exp.name}: {exp.model} of the Dense Fusion Classmate Network.",
        f"Emitted by `python tools/make_net.py {exp.name}` from its experiment file; change that, not this.",
    ]


def write_nets(
    exp: Experiment, out: Path, overwrite: bool, mode: str = "GPU", prefix: str | None = None
) -> list[Path]:
    """Write train, deploy and solver prototxts of an experiment into the folder `out`; return their paths.

    The solver refers to the train net as `out`/train.prototxt: Caffe resolves it in the working folder.
    """
    prefix = prefix or f"runs/{exp.name}"
    texts = {
        "train.prototxt": net_text(build(exp, TRAIN), header(exp, "Train net")),
        "deploy.prototxt": net_text(build(exp, DEPLOY), header(exp, "Deploy net")),
        "solver.prototxt": solver_text(exp, f"{out}/train.prototxt", prefix, mode, header(exp, "Solver")),
    }
    if out.is_dir() and overwrite:
        for name, text in texts.items():
            write_text(out / name, text)
    else:
        with staged_folder(out, overwrite) as staged:
            for name, text in texts.items():
                (staged / name).write_text(text, encoding="utf-8")
    return [out / name for name in texts]
