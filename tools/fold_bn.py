"""Fold BatchNorm into convolutions and Scales: the same output from a smaller and faster net."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--deploy", type=Path, required=True, help="deploy prototxt with BatchNorm")
    parser.add_argument("--weights", type=Path, required=True, help=".caffemodel, its card .json beside it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the folded net and weights")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Read net and weights, fold, write DIR/deploy.prototxt, DIR/weights.caffemodel and their card."""
    args = parse_arguments()
    from google.protobuf import text_format

    from common.files import staged_folder
    from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
    from prototxt_gen.fold import fold
    from prototxt_gen.input_comment import input_comment
    from prototxt_gen.model_card import read_card, write_card
    from prototxt_gen.prototxt import read_net

    net, card = read_net(args.deploy), read_card(args.weights)
    scale = card.scale if card else 1.0
    folded, weights = fold(net, read_caffemodel(args.weights), args.weights, scale)
    with staged_folder(args.out, args.overwrite, markers=("weights.caffemodel",)) as staged:
        header = f"# {args.deploy.name} without BatchNorm, by tools/fold_bn.py."
        if card:
            header += f"\n# {input_comment(card.bands, card.mean)}"
        text = text_format.MessageToString(folded)
        (staged / "deploy.prototxt").write_text(f"{header}\n\n{text}", encoding="utf-8")
        write_caffemodel(staged / "weights.caffemodel", net.name, weights)
        if card:
            write_card(staged / "weights.caffemodel", card.model_copy(update={"scale": 1.0}))
    print(f"{args.out}: {len(net.layer)} layers folded into {len(folded.layer)}")
    if card is None:
        print(f"{args.weights} has no model card: the input's scale stays outside the net")


if __name__ == "__main__":
    cli.run(main)
