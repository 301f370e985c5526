"""Write a deploy net with its weights as an ONNX model, for onnxruntime, OpenVINO and others."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

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
        help="side of the tiles of --check (default: 257, or the prototxt's if it is smaller), and of the "
        "model's with --for deepness (default: 513)",
    )
    plugin = parser.add_argument_group("Deepness, a plugin of QGIS, and GeoDeep")
    plugin.add_argument(
        "--for", dest="reader", choices=("deepness",), help="red, green and blue from 0 to 1, and metadata"
    )
    plugin.add_argument("--resolution", type=float, metavar="CM", help="of the images, in cm a pixel")
    plugin.add_argument(
        "--overlap", type=int, default=25, metavar="PERCENT", help="that tiles share (default: 25)"
    )
    cli.add_overwrite(parser)
    args = parser.parse_args()
    if args.reader and not args.resolution:
        parser.error("--for deepness needs --resolution CM: layers are resampled to it")
    if args.reader and args.check:
        parser.error("--check is of models that are not --for deepness")
    return args


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
    if args.reader:
        model = _for_deepness(args, deploy)
    else:
        model = to_onnx(deploy.net, read_caffemodel(args.weights), args.weights, card, outputs)
    write_onnx(args.out, model, args.overwrite)
    print(f"{args.out}: {len(model.graph.node)} nodes, {args.out.stat().st_size / 1e6:.1f} MB")
    if card is None:
        print(f"{args.weights} has no model card: the model does not say how to scale its input")
    if args.check:
        _check(args, card)


def _for_deepness(args: argparse.Namespace, deploy):
    from common.errors import WeightsError
    from common.numbers import check_number
    from inference.loading import trained_task
    from prototxt_gen.caffemodel import read_caffemodel
    from prototxt_gen.deepness import SIDE, to_deepness
    from prototxt_gen.model_card import card_path, read_card

    check_number("--resolution", args.resolution, 0.1)
    check_number("--overlap", args.overlap, 0, 80)
    if (card := read_card(args.weights)) is None:
        fact = f"has no model card {card_path(args.weights).name}, which says how to scale the input"
        raise WeightsError(args.weights, fact, "give weights with their card")
    task = trained_task(args.weights, deploy, args.task).task
    deploy.output_for(task)
    weights, size = read_caffemodel(args.weights), (args.tile or SIDE, args.resolution, args.overlap)
    return to_deepness(deploy.net, weights, args.weights, card, task, *size)


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
