"""Carry out a study: train its arms, map held-out scenes, write tables, figures and a report.

What is done is not done again: the same command continues where an earlier one was stopped.
"""

import argparse
import os
import sys
from pathlib import Path

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("study", help="small, gpu or paper of studies/, or a path to a .toml file")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("DFCNET_DATA"),
        help="folder that the study's data paths are relative to (default: $DFCNET_DATA)",
    )
    parser.add_argument("--out", type=Path, help="folder of the study (default: runs/<its name>)")
    device = parser.add_mutually_exclusive_group(required=True)
    device.add_argument("--cpu", action="store_true", help="train on the CPU")
    device.add_argument("--gpus", help="train on these GPUs, one process each: 0-7, or 0,2,3")
    args = parser.parse_args()
    if args.data is None:
        parser.error("--data: give the folder of the scenes, or set DFCNET_DATA")
    return args


def main() -> None:
    """Run what is missing, and print the results."""
    args = parse_arguments()
    from tqdm import tqdm

    from studies.plan import read_study, study_path
    from studies.report import TABLES, draw_figures, write_page, write_tables
    from studies.results import measure
    from studies.runner import StudyRunner
    from training.run import gpu_numbers

    path = study_path(args.study)
    study, base = read_study(path)
    gpus = [] if args.cpu else gpu_numbers(args.gpus)
    command = cli.command(args.study, path)
    runner = StudyRunner(study, base, args.data, args.out or Path("runs", study.name), gpus, command)
    if code := runner.run():
        sys.exit(code)
    results = measure(runner, lambda tested: tqdm(tested, desc="scores", disable=None, leave=False))
    files = write_tables(runner, results)
    print((runner.out / TABLES).read_text(encoding="utf-8"))
    figures = draw_figures(runner)
    for path in (*files, *(figure.path for figure in figures), write_page(runner, results, figures)):
        print(path)


if __name__ == "__main__":
    cli.run(main)
