"""Rewrite weights for a net of fused or of plain layers: the same numbers under the other names."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("weights", type=Path, help=".caffemodel of either form")
    parser.add_argument("--to", choices=("plain", "fused"), required=True, help="form of the layers")
    parser.add_argument("--out", type=Path, required=True, help=".caffemodel to write")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Read weights, write them in the other form, with a copy of their card if there is one."""
    args = parse_arguments()
    from common.files import refuse_existing
    from common.numbers import plural
    from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
    from prototxt_gen.fused_weights import fuse_weights, plain_view
    from prototxt_gen.model_card import card_path, read_card, write_card

    weights, card = read_caffemodel(args.weights), read_card(args.weights)
    for path in (args.out, card_path(args.out)):
        refuse_existing(path, args.overwrite)
    converted = plain_view(weights) if args.to == "plain" else fuse_weights(weights)
    write_caffemodel(args.out, args.weights.stem, converted, args.overwrite)
    if card:
        write_card(args.out, card)
    else:  # an older one would speak of other weights
        card_path(args.out).unlink(missing_ok=True)
    print(f"{args.out}: {plural(len(weights), 'layer')} with weights written as {len(converted)}")


if __name__ == "__main__":
    cli.run(main)
