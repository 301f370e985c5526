"""Score predicted masks against true ones: one confusion matrix over all pixels of all scenes."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import cli
from tqdm import tqdm


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", type=Path, required=True, help="folder of true <id>_mask.png")
    parser.add_argument("--pred", type=Path, required=True, help="folder of predicted <id>_mask.png")
    parser.add_argument("--task", choices=("land", "road"), default="land", help="default: land")
    parser.add_argument("--only-predicted", action="store_true", help="skip true masks without prediction")
    parser.add_argument(
        "--at-least",
        type=float,
        metavar="R",
        help="exit with 1 if the mIoU is less than R times that of always predicting the commonest class",
    )
    parser.add_argument("--json", type=Path, help="write all numbers here")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Print the scores; write them as JSON where asked."""
    arguments = parse()
    from data_prep.classes import TASKS
    from inference.evaluation import as_numbers, evaluate, table
    from inference.folders import pair_masks
    from prototxt_gen.files import refuse_existing, write_text

    if arguments.json:
        refuse_existing(arguments.json, arguments.overwrite)
    pairs = pair_masks(arguments.truth, arguments.pred, arguments.only_predicted)
    progress = partial(tqdm, unit="scene", disable=None, leave=False)
    evaluation = evaluate(pairs, TASKS[arguments.task], progress)
    print(table(evaluation))
    if arguments.json:
        numbers = json.dumps(as_numbers(evaluation), indent=2, allow_nan=False)
        write_text(arguments.json, numbers + "\n", arguments.overwrite)
    if arguments.at_least is not None and not evaluation.ratio >= arguments.at_least:
        print(f"evaluate.py: ratio {evaluation.ratio:.2f} is less than {arguments.at_least}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
