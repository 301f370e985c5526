"""Fit one temperature on scenes that the weights have not seen, and write it into the weights' card.

dfcnet predict then scales the probabilities that it writes; the classes of its maps stay what they are.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import add_bands, add_dataset_option, add_part, add_tiles


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--run", type=Path, help="folder of dfcnet train, for its deploy net and weights")
    parser.add_argument("--deploy", type=Path, help="deploy prototxt")
    parser.add_argument("--weights", type=Path, help=".caffemodel, its card .json beside it")
    parser.add_argument("--images", type=Path, required=True, help="images, by the data set's names")
    parser.add_argument("--truth", type=Path, required=True, help="folder of true masks")
    parser.add_argument("--task", help="one of those that the net has learnt (default: the first)")
    add_dataset_option(parser, "the weights' card")
    add_tiles(parser)
    add_bands(parser)
    add_part(parser, "take only the test part of")
    parser.add_argument("--json", type=Path, help="write the reliability here, for dfcnet report and figure")
    cli.add_overwrite(parser)
    args = parser.parse_args()
    if not args.run and not (args.deploy and args.weights):
        parser.error("give --run, or --deploy and --weights")
    return args


def main() -> None:
    """Fit the temperature, print the calibration error before and after, write card and JSON."""
    args = parse_arguments()
    from inference.process_group import set_threads

    set_threads(args.threads)
    from functools import partial

    from tqdm import tqdm

    from common.datasets import read_dataset
    from common.files import refuse_existing, write_text
    from evaluation.calibration import calibrate, sample_scenes, unseen_scenes
    from evaluation.calibration_files import CalibrationFile, calibrated_card, uncalibrated_card
    from inference.request import Request
    from prototxt_gen.model_card import write_card
    from training.run import DEPLOY_FILE, WEIGHTS_FILE

    if args.json:
        refuse_existing(args.json, args.overwrite)
    weights = args.weights or args.run / WEIGHTS_FILE
    card = uncalibrated_card(weights, args.task, args.overwrite)
    options = ("task", "dataset", "tile", "overlap", "scales", "flip", "batch", "backend", "gpu", "bands")
    request = Request(
        inputs=[args.images],
        deploy=args.deploy or args.run / DEPLOY_FILE,
        weights=[weights],
        out=args.images,  # nothing is written there
        **{name: getattr(args, name) for name in (*options, "hold_out", "split", "leave_out")},
    )
    predictor, trained, read_options, images = request.open(cli.log)
    dataset = read_dataset(args.dataset) if args.dataset else trained.dataset
    scenes = unseen_scenes(images, args.truth, dataset, trained.seen)
    progress = partial(tqdm, unit="scene", disable=None, leave=False)
    fitted = calibrate(sample_scenes(predictor, scenes, dataset, read_options, progress))
    found = CalibrationFile.of(fitted, trained, weights, args.scales, args.flip, [each.id for each in scenes])
    if args.json:
        write_text(args.json, found.model_dump_json(indent=1) + "\n", args.overwrite)
    print(found.text())
    print(f"temperature written into {write_card(weights, calibrated_card(card, found))}")


if __name__ == "__main__":
    cli.run(main)
