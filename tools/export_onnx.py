"""Write a deploy net with its weights as an ONNX model, for onnxruntime, OpenVINO and others."""

import argparse
import sys
from pathlib import Path

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--deploy", type=Path, required=True, help="deploy prototxt, plain or folded")
    parser.add_argument("--weights", type=Path, required=True, help=".caffemodel, its card .json beside it")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .onnx to write")
    parser.add_argument("--task", help="only this task's output (default: all)")
    parser.add_argument(
        "--check", action="store_true", help="compare with Caffe in onnxruntime; exit code 1 above 1e-4"
    )
    parser.add_argument(
        "--tile",
        type=int,
        help="side of the tiles of --check (default: 257, or the prototxt's if it is smaller)",
    )
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Write the model; with --check, print the differences from Caffe and judge the largest."""
    args = parse_arguments()
    from common.files import refuse_existing
    from common.optional import import_optional
    from inference.deploy import check_input_size, read_deploy
    from prototxt_gen.caffemodel import read_caffemodel
    from prototxt_gen.model_card import read_card
    from prototxt_gen.onnx_export import to_onnx, write_onnx

    deploy, card = read_deploy(args.deploy), read_card(args.weights)
    outputs = [deploy.output_for(args.task)] if args.task else None
    if args.tile is not None:
        check_input_size("--tile", args.tile)
    refuse_existing(args.out, args.overwrite)
    if args.check:
        import_optional("onnxruntime", "onnx")  # say now, not after the export, that it is missing
    model = to_onnx(deploy.net, read_caffemodel(args.weights), args.weights, card, outputs)
    write_onnx(args.out, model, args.overwrite)
    print(f"{args.out}: {len(model.graph.node)} nodes, {args.out.stat().st_size / 1e6:.1f} MB")
    if card is None:
        print(f"{args.weights} has no model card: the model does not say how to scale its input")
    if args.check:
        _check(args, card)


def _check(args: argparse.Namespace, card) -> None:
    from inference.onnx_check import TOLERANCE, compare

    largest = 0.0
    for name, difference in compare(args.out, args.deploy, args.weights, card, args.tile):
        print(f"  {name}: {difference:.1e}", flush=True)
        largest = max(largest, difference)
    print(f"largest difference from Caffe {largest:.1e}, allowed {TOLERANCE:.0e}")
    if not largest <= TOLERANCE:
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
