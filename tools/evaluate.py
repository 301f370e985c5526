"""Score predicted masks against true ones: one confusion matrix over all pixels of all scenes.

Several --pred folders give one table: the mIoU of each, and its lead over the first.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import MAPPING, TASK, add_dataset_option, add_part


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    truth = "folder of true masks, by the data set's names"
    maps = "folders of predicted masks, <id>_mask.png or <id>_mask.tif"
    parser.add_argument("--truth", type=Path, required=True, help=truth)
    parser.add_argument("--pred", type=Path, required=True, nargs="+", help=maps)
    add_dataset_option(parser, "the maps, by their manifests")
    cli.add_retired(parser, MAPPING | TASK)
    parser.add_argument("--names", nargs="+", help="a name per --pred folder (default: its own)")
    add_part(parser, "score only the test part of")
    parser.add_argument("--only-predicted", action="store_true", help="skip true masks without prediction")
    parser.add_argument(
        "--at-least",
        type=float,
        metavar="R",
        help="exit with 1 if the mIoU is less than R times that of always predicting the commonest class",
    )
    parser.add_argument(
        "--resamples", type=int, default=1000, help="bootstrap over scenes (default: 1000; 0: no intervals)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the resamples (default: 0)")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--csv", type=Path, help="write a line per score and class here")
    parser.add_argument("--figure", type=Path, help="draw the confusion matrix here (.png, .pdf, .svg)")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Print the scores; write them where asked."""
    args = parse_arguments()
    from tqdm import tqdm

    from common.drawing import check_picture
    from common.files import check_outputs, write_text
    from common.numbers import check_number, plural
    from data_prep.subsets import Subset
    from evaluation import score_files, score_text
    from evaluation.evaluation import dataset_of_maps, evaluate, pair_folders, trained_scenes
    from evaluation.figures import different_names
    from evaluation.intervals import Bootstrap
    from evaluation.matrix_figure import draw_matrices

    if args.at_least is not None:
        check_number("--at-least", args.at_least, 0)
    if args.figure:
        check_picture(args.figure, args.overwrite)
    check_outputs((args.json, args.csv, args.figure), args.overwrite)
    names = different_names(args.pred, args.names)
    bootstrap = Bootstrap(args.resamples, seed=args.seed)
    dataset = dataset_of_maps(args.pred, args.dataset)
    progress = partial(tqdm, unit="scene", disable=None, leave=False)
    subset = Subset(dataset, "test", args.hold_out, args.split, args.leave_out)
    warnings = subset.warnings([args.truth])
    paired = pair_folders(args.truth, args.pred, dataset, args.only_predicted, subset)
    for name, pairs in zip(names, paired, strict=True):
        if trained := trained_scenes(pairs, subset):
            fact = f"{len(trained)} of {plural(len(pairs), 'scene')} trained the weights, as {trained[0]}"
            warnings.append(f"{name}: {fact}: the scores will mislead")
    cli.warn(*warnings)
    evaluations = {
        name: evaluate(pairs, dataset, progress, bootstrap) for name, pairs in zip(names, paired, strict=True)
    }
    several = len(evaluations) > 1
    only = next(iter(evaluations.values()))
    print(score_text.comparison(evaluations) if several else score_text.table(only))
    if args.json:
        numbers = score_files.as_comparison(evaluations) if several else score_files.as_numbers(only)
        text = json.dumps(numbers | {"warnings": warnings}, indent=2, allow_nan=False)
        write_text(args.json, text + "\n", args.overwrite)
    if args.csv:
        write_text(args.csv, score_files.as_csv(evaluations), args.overwrite)
    if args.figure:
        draw_matrices(evaluations, args.figure, args.overwrite)
    _require(evaluations, args.at_least)


def _require(evaluations: dict, least: float | None) -> None:
    """Exit with 1 at the first set of maps whose ratio is less than `least`."""
    for name, evaluation in evaluations.items():
        if least is not None and not evaluation.ratio >= least:
            maps = f"{name}: " if len(evaluations) > 1 else ""
            cli.say(f"{maps}ratio {evaluation.ratio:.2f} is less than {least}")
            sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
