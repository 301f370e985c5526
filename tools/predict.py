"""Map scenes with a deploy net and weights: tiles, averaged probabilities, rasters of classes."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import add_bands, add_dataset_option, add_part, add_tiles


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__, epilog="Under `mpirun -n N` the scenes are shared over N processes.")
    parser.add_argument(
        "inputs", metavar="INPUT", type=Path, nargs="*", help="JPEG, PNG, TIFF; folders or patterns of them"
    )
    parser.add_argument("--run", type=Path, help="folder of dfcnet train, for its deploy net and weights")
    parser.add_argument(
        "--model", metavar="NAME", help="a trained net of models/, which says what it is for: demo"
    )
    parser.add_argument("--deploy", type=Path, help="deploy prototxt")
    parser.add_argument(
        "--weights",
        type=Path,
        default=[],
        nargs="+",
        help=".caffemodel files, each with its card .json beside it; several are averaged",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the maps")
    parser.add_argument("--task", help="one of those that the net has learnt (default: the first)")
    add_dataset_option(parser, "the weights' card")
    add_tiles(parser)
    images = parser.add_argument_group("images")
    add_bands(images)
    images.add_argument(
        "--stretch",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values that become 0 and 255 where an image has more than 8 bits (default: those that the "
        "weights have learnt with; else the 2nd and 98th percentile of each band)",
    )
    maps = parser.add_argument_group("maps")
    maps.add_argument("--raster", action="store_true", help="class rasters (TIFF) for JPEG and PNG too")
    maps.add_argument(
        "--cog",
        "--cloud",  # its former name
        dest="cloud",
        action="store_true",
        help="Cloud Optimized GeoTIFFs",
    )
    maps.add_argument(
        "--probabilities", action="store_true", help="<id>_probabilities.tif: a band a class, value / 254"
    )
    maps.add_argument(
        "--confidence", action="store_true", help="<id>_confidence.tif: of the likeliest class, value / 254"
    )
    add_part(parser, "map only the test part of")
    cli.add_overwrite(parser)
    args = parser.parse_intermixed_args()
    # `--weights W.caffemodel INPUT` may stand in this order too.
    first, more = args.weights[:1], args.weights[1:]
    args.weights = [*first, *(path for path in more if path.suffix.lower() == ".caffemodel")]
    args.inputs += [path for path in more if path.suffix.lower() != ".caffemodel"]
    if not args.inputs:
        parser.error("no INPUT: give images, folders or patterns")
    if args.model and (args.run or args.deploy or args.weights):
        parser.error(
            "--model stands for deploy net and weights; give it without --run, --deploy and --weights"
        )
    if not (args.model or args.run or (args.deploy and args.weights)):
        parser.error("give --model, --run, or --deploy and --weights")
    return args


def main() -> None:
    """Predict the maps and print one line of summary; exit code 2 where a scene failed."""
    args = parse_arguments()
    from inference.process_group import ProcessGroup, set_threads

    set_threads(args.threads)
    from common.errors import DFCNetError, WeightsError
    from inference.prediction import on_all_ranks
    from inference.request import Request
    from inference.scene_maps import OutputOptions
    from training.run import DEPLOY_FILE, WEIGHTS_FILE, shipped_model

    options = vars(args)
    model, run = options.pop("model"), options.pop("run")
    if run := shipped_model(model) if model else run:
        if not run.is_dir():
            raise WeightsError(run, "is not a folder", "give --run the folder of a training, as runs/dfcnet")
        options["deploy"] = options["deploy"] or run / DEPLOY_FILE
        options["weights"] = options["weights"] or [run / WEIGHTS_FILE]
    del options["threads"]
    kinds = ("probabilities", "confidence", "raster", "cloud")
    outputs = OutputOptions(**{name: options.pop(name) for name in kinds})
    request = Request(**options, outputs=outputs)
    group = ProcessGroup()
    try:
        with group:
            done = on_all_ranks(group, lambda: request.run(group, cli.log), request.out, cli.log)
    except DFCNetError:
        if group.rank:  # rank 0 says it
            sys.exit(2)
        raise
    if group.rank == 0:
        print(done.line(request.out))
    sys.exit(2 if done.errors else 0)


if __name__ == "__main__":
    cli.run(main)
