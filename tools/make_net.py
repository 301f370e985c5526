"""Emit train, deploy and solver prototxts of an experiment."""

import argparse
from pathlib import Path

import cli

from prototxt_gen.emit import write_nets
from prototxt_gen.experiment import read_experiment


def main() -> None:
    """Parse arguments, write the nets, name the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_experiment(parser)
    parser.add_argument("--out", type=Path, help="folder for the prototxts (default: solvers/<experiment>)")
    parser.add_argument("--cpu", action="store_true", help="write solver_mode CPU instead of GPU")
    cli.add_overwrite(parser)
    args = parser.parse_args()
    experiment = read_experiment(cli.experiment_path(args.experiment))
    out = args.out or Path("solvers", experiment.name)
    for path in write_nets(experiment, out, args.overwrite, mode="CPU" if args.cpu else "GPU"):
        print(path)


if __name__ == "__main__":
    cli.run(main)
