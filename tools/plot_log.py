"""Draw loss, learning rate and validation mIoU of one or several runs."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folders of runs, or their log.jsonl"
    )
    parser.add_argument("--names", nargs="+", help="names for the legend (default: the folders' names)")
    parser.add_argument("--out", type=Path, required=True, help="picture to write (.png, .svg, .pdf)")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Read the logs and draw them into one picture."""
    args = parse_arguments()
    from common.errors import DFCNetError
    from common.numbers import plural
    from training.curves import draw, read_log

    names = args.names or [run.parent.name if run.suffix == ".jsonl" else run.name for run in args.runs]
    if len(set(names)) != len(args.runs):
        fact = f"{plural(len(set(names)), 'different name')} for {plural(len(args.runs), 'run')}"
        raise DFCNetError("--names", fact, "give each run a name of its own")
    draw(dict(zip(names, map(read_log, args.runs), strict=True)), args.out, args.overwrite)
    print(args.out)


if __name__ == "__main__":
    cli.run(main)
