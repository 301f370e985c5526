"""Make a folder to hand on of a run: deploy net, weights, card, and a README as Hugging Face has it."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training that has ended")
    parser.add_argument(
        "--scores", type=Path, required=True, metavar="JSON", help="of dfcnet evaluate, for its maps"
    )
    parser.add_argument(
        "--about",
        type=Path,
        required=True,
        metavar="TOML",
        help="data, terms, limits: as models/demo/about.toml",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; its name is the model's")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Write the folder and print where it is."""
    args = parse_arguments()
    from evaluation.shipped_model import ship_model

    size = ship_model(args.run, args.scores, args.about, args.out, args.overwrite)
    print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main)
