"""What the commands share: sys.path and the environment, common arguments, errors in one line."""

import argparse
import errno
import os
import re
import select
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
# What a machine may lack: the system's errors that are a user's to fix, wherever they come.
LACKING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
# What may be wrong with a path that a user has named: rights, links that go in a circle, names, a disk.
OF_A_PATH = {
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ESTALE,
}
NO_TEMPORARY = "temporary directory"  # in Python's and matplotlib's words where there is no place for one
sys.path.insert(0, str(ROOT))

from common.environment import pin  # noqa: E402

pin()


def _name_a_missing_package(kind: type, error: BaseException, trace: object) -> None:
    """Say in a line, where a package is missing, which Python has it."""
    if kind is ModuleNotFoundError:
        print(f"{sys.executable}: {error}; use .venv/bin/python (`make venv` makes it)", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _name_a_missing_package


class _Version(argparse.Action):
    """Prints the version that pyproject.toml gives, read only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import tomllib

        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        print(f"{project['name']} {project['version']}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong with the arguments, without the usage.

    It refuses an empty path, as of a shell's variable that is not set: it would mean `.`.
    """

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.register("type", Path, _path)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2; where a list of numbers has taken a path, say how to part them."""
        if re.search(r"invalid (int|float) value", message):
            message += "; files stand before an option that takes several values, or after --"
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("is empty; give a path, . for this folder")
    return Path(text)


def make_parser(description: str, **options) -> argparse.ArgumentParser:
    """Return the parser of a command: its docstring as description, and `--version`."""
    parser = _Parser(description=description, **options)
    parser.add_argument("--version", action=_Version)
    return parser


def add_overwrite(parser) -> None:
    """Add `--overwrite`: without it, an output that exists is an error."""
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


class _Retired(argparse.Action):
    """An option that version 1.0 had: `const` says what stands in its place."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        from common.errors import DFCNetError

        raise DFCNetError(option_string, "was an option of version 1.0", self.const)


def add_retired(parser, options: dict[str, str]) -> None:
    """Refuse options that version 1.0 had, each with what to do in its place."""
    for option, remedy in options.items():
        parser.add_argument(option, action=_Retired, nargs="*", const=remedy, help=argparse.SUPPRESS)


def add_experiment(parser) -> None:
    """Add the experiment: a name of solvers/, or a path to a .toml file or to its folder."""
    parser.add_argument(
        "experiment",
        nargs="?",
        help="baseline, classmate, dfcnet ... of solvers/, or a path to a .toml file or to a folder with one",
    )
    parser.add_argument("--experiment", dest="named", metavar="EXPERIMENT", help="the same by an option")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="replace a setting, for instance input.crop=513; may be repeated",
    )
    parser.add_argument(
        "--dense-block",
        choices=("plain", "fused"),
        help="of Caffe's layers, or of ours that do several at once (default: the experiment's)",
    )


def read_experiment(args):
    """Return the experiment that the arguments name, with their --set."""
    from common.errors import ExperimentError
    from prototxt_gen.experiment import experiment_path, read_experiment

    if (args.experiment is None) == (args.named is None):
        fact = (
            "is missing" if args.named is None else f"is given twice, as {args.experiment} and {args.named}"
        )
        raise ExperimentError("experiment", fact, "name one, as dfcnet or path/to/mine.toml")
    args.experiment = args.experiment or args.named
    form = [f"densenet.dense_block='{args.dense_block}'"] if args.dense_block else []
    return read_experiment(experiment_path(args.experiment), [*args.set, *form])


def experiment_options(args) -> list[str]:
    """Return the options that change the named experiment, as they were given."""
    form = ["--dense-block", args.dense_block] if args.dense_block else []
    return [word for setting in args.set for word in ("--set", setting)] + form


def command(name: str, path: Path, *options: str):
    """Return this command, for headers of what it emits; `name` was given for the TOML file `path`."""
    from prototxt_gen.emit import Command

    source = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return Command(shlex.join([Path(sys.argv[0]).name, name, *options]), str(source))


def warn(*lines: str) -> None:
    """Print warnings on stderr, under the command's name."""
    for line in lines:
        say(f"warning: {line}")


def say(line: str) -> None:
    """Print a line on stderr, under the command's name."""
    print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)


def log(line: str) -> None:
    """Print a line on stderr, under the command's name, beside a progress bar."""
    from tqdm import tqdm

    tqdm.write(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)


def run(main: Callable[[], None]) -> None:
    """Call `main`; a user's mistake ends in one line on stderr and exit code 2, Ctrl-C in 130.

    Where nobody reads what it says any more, as after `| head`, it ends without a word in 141.
    """
    # Stopped from outside (docker stop, a batch system): clean up as after an error.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _run(main)
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        _say_no_more()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except BaseException:
        if _nobody_reads() or _is_full():
            _say_no_more()
        raise


def _run(main: Callable[[], None]) -> None:
    from common.errors import DFCNetError

    try:
        _finish(main)
    except BrokenPipeError:
        raise
    except DFCNetError as error:
        say(str(error))
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno in LACKING or NO_TEMPORARY in str(error):
            words = f"{' '.join(str(error).split())}; check the disk's free space and the machine's limits"
        elif error.errno in OF_A_PATH and error.filename is not None:
            remedy = "check the path, its rights and its disk"
            words = f"{os.fsdecode(error.filename)}: cannot be used ({error.strerror}); {remedy}"
        else:
            raise
        say(words)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _finish(main: Callable[[], None]) -> None:
    """Call `main` and write what is held for stdout: at the end, Python would complain by itself."""
    ended = None
    try:
        main()
    except SystemExit as error:
        ended = error
    if sys.stdout is not None:
        sys.stdout.flush()
    if ended is not None:
        raise ended


def _nobody_reads() -> bool:
    """Return whether stdout is a pipe without a reader: a broken pipe elsewhere is a bug of ours."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError):  # there is no stdout, or a program has put something else in its place
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _is_full() -> bool:
    """Return whether what is held for stdout cannot be written, as to a file on a full disk."""
    try:
        sys.stdout.flush()
    except (AttributeError, ValueError):
        return False
    except OSError:
        return True
    return False


def _say_no_more() -> None:
    """Let what is still held for stdout go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
