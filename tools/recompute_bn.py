"""Compute BatchNorm's statistics anew from the training crops of one task: weights for maps of that task."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training with its databases")
    parser.add_argument("--task", help="one of its tasks (default: the first)")
    parser.add_argument(
        "--passes", type=int, default=200, metavar="N", help="passes of images_per_pass crops (default 200)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".caffemodel to write")
    parser.add_argument("--gpu", type=int, metavar="N", help="compute on GPU N (default: on the CPU)")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Compute, and write the weights with their card."""
    args = parse_arguments()
    from common.files import refuse_existing
    from common.numbers import plural
    from evaluation.page.run_facts import read_run
    from prototxt_gen.model_card import card_path
    from training.bn_statistics import recompute_statistics

    for path in (args.out, card_path(args.out)):
        refuse_existing(path, args.overwrite)
    run = read_run(args.run)
    task = args.task or run.experiment.task_names()[0]
    recompute_statistics(run.experiment, run.weights, task, args.passes, args.out, args.gpu)
    crops = args.passes * run.experiment.solver.images_per_pass
    print(f"{args.out}: BatchNorm's statistics of {plural(crops, 'crop')} of {task}")


if __name__ == "__main__":
    cli.run(main)
