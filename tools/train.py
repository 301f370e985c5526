"""Train an experiment with Caffe, on the CPU or on GPUs."""

import argparse
from pathlib import Path

import cli

from solvers.driver import check_devices, train
from solvers.run import gpu_numbers, make_run
from solvers.weights import Fit


def main() -> None:
    """Parse arguments, make the run's folder, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_experiment(parser)
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/<experiment>)")
    device = parser.add_mutually_exclusive_group(required=True)
    device.add_argument("--cpu", action="store_true", help="train on the CPU, in one process")
    device.add_argument("--gpus", help="train on these GPUs, one process each: 0-7, or 0,2,3")
    parser.add_argument(
        "--weights",
        type=Path,
        nargs="+",
        default=[],
        help="start from these .caffemodel files, by layer name",
    )
    parser.add_argument(
        "--allow-mismatch", action="store_true", help="leave layers whose shape differs at their filler"
    )
    cli.add_overwrite(parser)
    args = parser.parse_args()
    experiment = cli.read_experiment(args)
    gpus = [] if args.cpu else gpu_numbers(args.gpus)
    check_devices(gpus)
    folder = args.run or Path("runs", experiment.name)
    fit = Fit.MISMATCH if args.allow_mismatch else Fit.PART
    run = make_run(experiment, folder, len(gpus) or 1, bool(gpus), args.weights, fit, args.overwrite)
    train(run, gpus, args.weights, fit)


if __name__ == "__main__":
    cli.run(main)
