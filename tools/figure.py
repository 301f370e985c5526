"""Draw the paper's figures. `compare`: image, truth and predictions side by side (Figure 4)."""

import argparse
from pathlib import Path

import cli


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser("compare", help="image, truth and predictions side by side")
    compare.add_argument("--images", type=Path, required=True, help="folder of <id>_sat.*")
    compare.add_argument("--truth", type=Path, required=True, help="folder of true <id>_mask.png")
    compare.add_argument("--pred", type=Path, required=True, nargs="+", help="folders of predicted masks")
    compare.add_argument("--names", nargs="+", help="a title per --pred folder (default: its name)")
    compare.add_argument("--task", choices=("land", "road"), default="land", help="default: land")
    compare.add_argument("--out", type=Path, required=True, help="picture to write (.png, .pdf, .svg)")
    which = compare.add_mutually_exclusive_group()
    which.add_argument("--scenes", nargs="+", metavar="ID", help="the scenes to show")
    which.add_argument("--rows", type=int, default=4, help="or how many to choose (default: 4)")
    cli.add_overwrite(compare)
    return parser.parse_args()


def main() -> None:
    """Draw the figure asked for."""
    arguments = parse()
    from data_prep.classes import TASKS
    from inference import comparison, figures

    folders = (arguments.images, arguments.truth, arguments.pred)
    task = TASKS[arguments.task]
    names = figures.column_names(arguments.pred, arguments.names)
    figures.check_output(arguments.out, arguments.overwrite)
    scenes = comparison.choose_scenes(*folders, arguments.scenes, arguments.rows)
    rows = list(comparison.read_rows(*folders, scenes, task))
    figures.compare(rows, names, task, arguments.out, arguments.overwrite)
    print(f"{arguments.out}: scenes {' '.join(scenes)}")


if __name__ == "__main__":
    cli.run(main)
