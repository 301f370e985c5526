"""Emit train, deploy and solver prototxts of an experiment; or print or draw what its net is."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    cli.add_experiment(parser)
    parser.add_argument("--out", type=Path, help="folder for the prototxts (default: solvers/<experiment>)")
    parser.add_argument("--heads", nargs="+", metavar="TASK", help="tasks of the deploy nets (default: all)")
    parser.add_argument("--cpu", action="store_true", help="write solver_mode CPU instead of GPU")
    parser.add_argument("--summary", action="store_true", help="print shapes and costs, write no prototxt")
    parser.add_argument(
        "--draw", type=Path, metavar="FILE", help="draw the net (.svg, .png), write no prototxt"
    )
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Write the nets and name the files, or print the summary, or draw."""
    args = parse_arguments()
    from prototxt_gen.cost import solver_history
    from prototxt_gen.emit import write_nets
    from prototxt_gen.experiment import experiment_path
    from prototxt_gen.models import DEPLOY, TRAIN, build
    from prototxt_gen.summary import summary

    experiment = cli.read_experiment(args)
    if args.summary:
        history = solver_history(experiment.solver.type)
        print(summary(build(experiment, TRAIN), build(experiment, DEPLOY, args.heads), history))
    if args.draw:
        from prototxt_gen.draw import draw

        draw(build(experiment, TRAIN), args.draw, args.overwrite)
        print(args.draw)
    if args.summary or args.draw:
        return
    out = args.out or Path("solvers", experiment.name)
    heads = ["--heads", *args.heads] if args.heads else []
    options = [*cli.experiment_options(args), *heads, *(["--cpu"] if args.cpu else [])]
    command = cli.command(args.experiment, experiment_path(args.experiment), *options)
    mode = "CPU" if args.cpu else "GPU"
    for path in write_nets(experiment, out, args.overwrite, mode, args.heads, command):
        print(path)


if __name__ == "__main__":
    cli.run(main)
