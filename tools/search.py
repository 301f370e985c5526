"""Search for a better training: trials of settings, scored on development scenes, the best ones longer.

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
    return parse_study(cli.make_parser(__doc__), "search", "search")


def main() -> None:
    """Try what has not been tried, and print the log of all trials."""
    args = parse_arguments()
    from studies.plan import study_path
    from studies.search import SearchRunner, read_search
    from training.run import gpu_numbers

    path = study_path(args.search)
    search = read_search(path)
    gpus = [] if args.cpu else gpu_numbers(args.gpus)
    command, out = cli.command(args.search, path), args.out or Path("runs", search.name)
    runner = SearchRunner(search, path, args.data, out, gpus, command)
    if code := runner.run():
        sys.exit(code)
    print(runner.trials.read_text(encoding="utf-8"), end="")
    print(runner.trials)


if __name__ == "__main__":
    cli.run(main)
