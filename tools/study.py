"""Carry out a study: train its arms, map held-out scenes, write tables, figures and a report.

What is done is not done again: the same command continues where an earlier one was stopped.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import parse_study


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    return parse_study(cli.make_parser(__doc__), "study", "small, medium, gpu or paper")


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
