"""Build the LMDB of an experiment's task: resized crops of scenes as records of the bands and the label.

Crop, bands, mean, classes and the place of the database stand in the experiment and its data set.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import CROP, MAPPING, STRETCH, add_bands, add_part, add_workers


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    cli.add_experiment(parser)
    parser.add_argument("task", help="one of its tasks")
    parser.add_argument(
        "--images", type=Path, nargs="+", required=True, metavar="DIR", help="folders of the data set's files"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DB",
        help="the database, a new folder (default: the task's source; of the test part, its validation)",
    )
    parser.add_argument(
        "--margin",
        type=int,
        default=32,
        metavar="M",
        help="extra pixels per side length for the Data layer's own random crop (default 32)",
    )
    parser.add_argument("--variants", type=int, default=1, metavar="K", help="records per scene (default 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of all random draws (default 0)")
    parser.add_argument(
        "--encode",
        choices=["raw", "png"],
        default="raw",
        help="pixels as they are, or PNG: half the size, ten times the work (default raw)",
    )
    parser.add_argument(
        "--rotate", action="store_true", help="turn each record by a random multiple of 90 degrees"
    )
    parser.add_argument(
        "--jitter",
        type=float,
        default=0.0,
        metavar="J",
        help="change each band's brightness and all contrast by random factors, 1-J to 1+J (default 0)",
    )
    parser.add_argument(
        "--class-aware",
        action="store_true",
        help="of 8 random places take the one with most pixels of a class drawn at random",
    )
    parser.add_argument(
        "--shuffle-labels",
        action="store_true",
        help="give each image the labels of another one: a control for experiments",
    )
    add_bands(parser)
    cli.add_retired(parser, CROP | MAPPING | STRETCH)
    add_part(parser, "take one part of")
    parser.add_argument(
        "--part",
        choices=["train", "validation", "test"],
        default="train",
        help="with --split or --hold-out: which part (default train); published splits have a validation",
    )
    add_workers(parser)
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Find, split, cut, write, and print a short summary."""
    args = parse_arguments()
    from common.numbers import plural
    from data_prep.lmdb_writer import write_database
    from data_prep.read_options import ReadOptions
    from data_prep.records import RecordConfig
    from data_prep.shuffling import shuffle_masks
    from data_prep.subsets import Subset, select_scenes

    experiment = cli.read_experiment(args)
    task = experiment.task(args.task)
    config = RecordConfig.of(
        experiment,
        args.task,
        args.margin,
        args.variants,
        args.seed,
        encode=args.encode,
        rotate=args.rotate,
        jitter=args.jitter,
        class_aware=args.class_aware,
    )
    out = args.out or _place(task, args)
    subset = Subset(task.dataset, args.part, args.hold_out, args.split, args.leave_out)
    scenes, warnings = select_scenes(args.images, subset), subset.warnings(args.images)
    cli.warn(*warnings)
    split = subset.manifest_entry(warnings)
    if args.shuffle_labels:
        read_options = ReadOptions.of(task.dataset, config.bands, args.bands)
        scenes = shuffle_masks(scenes, task.dataset, args.seed, read_options)
        split = {**(split or {}), "labels": "of another image"}
    database = write_database(
        scenes,
        config,
        out,
        args.overwrite,
        split,
        workers=args.workers,
        numbers=args.bands and tuple(args.bands),
        log=lambda line: print(line, flush=True),
    )
    records, of = plural(database.records, "record"), plural(len(scenes), "scene")
    print(f"{out}: {records} of {of}, {config.side}x{config.side} pixels")
    print(f"{out}: {database.size / 1e6:.1f} MB; {database.share_line}")


def _place(task, args: argparse.Namespace) -> Path:
    from common.errors import ExperimentError

    if args.part == "train":
        return Path(task.source)
    if task.validation is None:
        fact = f"has no validation for task {args.task}"
        remedy = f"give --out, the place of the {args.part} part's database"
        raise ExperimentError(args.experiment, fact, remedy)
    return Path(task.validation)


if __name__ == "__main__":
    cli.run(main)
