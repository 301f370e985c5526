"""Train an experiment with Caffe, on the CPU or on GPUs; under mpirun on several machines."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    cli.add_experiment(parser)
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/<experiment>)")
    device = parser.add_mutually_exclusive_group(required=True)
    device.add_argument("--cpu", action="store_true", help="train on the CPU, one process (or mpirun's)")
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
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the run's newest snapshot; begin where there is none",
    )
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Make the run's folder, and train in it."""
    args = parse_arguments()
    from evaluation.validation import Validation
    from prototxt_gen.experiment import experiment_path
    from training import driver
    from training.rank import RankOptions
    from training.run import gpu_numbers
    from training.weights import Coverage

    experiment = cli.read_experiment(args)
    gpus = [] if args.cpu else gpu_numbers(args.gpus)
    options = RankOptions(
        weights=tuple(args.weights),
        coverage=Coverage.ALLOW_MISMATCH if args.allow_mismatch else Coverage.PARTIAL,
        validate=Validation.of(experiment),
    )
    folder = args.run or Path("runs", experiment.name)
    device = ["--cpu"] if args.cpu else ["--gpus", args.gpus]
    path = experiment_path(args.experiment)
    command = cli.command(args.experiment, path, *cli.experiment_options(args), *device)
    sys.exit(driver.start(experiment, folder, gpus, options, args.overwrite, args.resume, command))


if __name__ == "__main__":
    cli.run(main)
