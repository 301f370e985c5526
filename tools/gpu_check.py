"""Check this machine's GPUs: parity with the CPU, speed, training, Caffe's own tests."""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(
        __doc__,
        epilog="Exit code 0: nothing failed; 1: something did; 2: no GPU, or another mistake.",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="end in this time; what does not fit is named as skipped",
    )
    parser.add_argument(
        "--rows", type=Path, metavar="FILE", help="write each row there at once, as a line of JSON"
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        nargs="+",
        default=[],
        help="these checks alone, as the rows of a skipped one name it",
    )
    parser.add_argument("--quick", action="store_true", help="narrow nets and small crops only")
    parser.add_argument(
        "--cpu", action="store_true", help="take the CPU for the GPU: checks the checks, on any machine"
    )
    parser.add_argument(
        "--references",
        type=Path,
        metavar="DIR",
        help="answers of the CPU: those found there are not computed again, new ones are kept there",
    )
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="only compute the --references that are not there; needs no GPU",
    )
    parser.add_argument("--peer", metavar="PYTHON", help="a Python with PyTorch, to be compared with")
    parser.add_argument(
        "--scenes", type=Path, metavar="DIR", help="train on DIR/land and DIR/road, real scenes"
    )
    parser.add_argument(
        "--train-seconds", type=float, default=200, metavar="S", help="so long, about (default 200)"
    )
    args = parser.parse_args()
    if args.prepare and not args.references:
        parser.error("--prepare needs --references DIR")
    return args


def main() -> None:
    """Run the checks within the budget, and print a table."""
    args = parse_arguments()
    from common.numbers import check_number

    for option, seconds in (("--budget", args.budget), ("--train-seconds", args.train_seconds)):
        if seconds is not None:
            check_number(option, seconds, 1)
    from gpu_check.checks import all_checks
    from gpu_check.deadline import DEFAULT_LIMIT, Deadline, run
    from gpu_check.parity_checks import reference, reference_cases
    from gpu_check.rows import show
    from gpu_check.target import Target

    names = [] if args.prepare else device_names(args.cpu)
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as folder:
        target = Target(
            Path(folder),
            0 if args.cpu else len(names),
            args.quick,
            args.references,
            args.peer,
            args.scenes,
            args.train_seconds,
        )
        if args.prepare:
            for case in reference_cases(target):
                reference(target, case, Deadline(DEFAULT_LIMIT))
                print(f"{args.references / case.name}.npz", flush=True)
            return
        selected = chosen(all_checks(target), args.only)
        print(f"{len(names)} x {names[0]}" if not args.cpu else "the CPU in a GPU's place", flush=True)
        rows = show(machine(names), run(selected, args.budget), args.rows)
    sys.exit(1 if any(row.ok is False for row in rows) else 0)


def chosen(checks: list, names: list[str]) -> list:
    """Return the checks of these names, all where there are none; DFCNetError for an unknown one."""
    from common.errors import DFCNetError

    known = [check.name for check in checks]
    for name in names:
        if name not in known:
            raise DFCNetError("--only", f"{name!r} is not a check", f"choose from: {'; '.join(known)}")
    return [check for check in checks if not names or check.name in names]


def device_names(cpu: bool) -> list[str]:
    """Return the GPUs' names, or the CPU's; DFCNetError where Caffe shows none."""
    from common.errors import DFCNetError
    from gpu_check.isolation import ProcessDied, run_isolated
    from training.gpus import gpu_names

    try:
        names = ["CPU"] if cpu else run_isolated(gpu_names, timeout=120)
    except ProcessDied as error:
        raise DFCNetError(
            "Caffe", f"does not start ({error})", "`ldd` of libcaffe.so names what it lacks"
        ) from None
    if not names:
        fact = "shows no NVIDIA GPU, or Caffe was built for the CPU alone"
        raise DFCNetError("this machine", fact, "run it where nvidia-smi lists one, after `make caffe-cuda`")
    return names


def machine(names: list[str]) -> dict:
    """Return what the rows were measured on."""
    import os
    import platform

    return {"devices": names, "system": platform.platform(), "cores": len(os.sched_getaffinity(0))}


if __name__ == "__main__":
    cli.run(main)
