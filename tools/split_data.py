"""Split a data set into train and test by a seeded hash of the scene ids; other commands read the file."""

import argparse
from pathlib import Path

import cli
from data_options import add_dataset, add_leave_out


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    add_dataset(parser)
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folders of images and masks")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON", help="the split file")
    parser.add_argument(
        "--train", type=int, metavar="N", help="scenes to train on (default: the data set's own number)"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of the hash (default 0)")
    parser.add_argument(
        "--extend",
        type=Path,
        metavar="JSON",
        help="keep this split, and let its hash place the scenes it lacks",
    )
    add_leave_out(parser)
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Split, write, and print how many scenes are where."""
    args = parse_arguments()
    from common.datasets import read_dataset
    from common.errors import DataError
    from common.numbers import plural
    from data_prep.scenes import find_scenes
    from data_prep.splits import make_split, read_split, write_split
    from data_prep.subsets import Subset

    dataset = read_dataset(args.dataset)
    subset = Subset(dataset, leave_out=args.leave_out)
    ids = [scene.id for scene in find_scenes(args.folders, dataset, subset.left_out)]
    cli.warn(*subset.warnings(args.folders))
    if args.extend is None:
        train = dataset.train if args.train is None else args.train
        if train is None:
            fact = f"is not given, and {dataset.name} has no key train"
            raise DataError("--train", fact, "say how many scenes are for training")
        split = make_split(dataset.name, ids, train, args.seed or 0)
    elif args.train is not None or args.seed is not None:
        raise DataError("--extend", "comes with --train or --seed", "leave them out: the split file has them")
    else:
        split = read_split(args.extend, dataset.name).extended(ids)
    write_split(args.out, split, args.overwrite)
    print(
        f"{args.out}: {len(split.train)} train and {plural(len(split.test), 'test scene')}, seed {split.seed}"
    )


if __name__ == "__main__":
    cli.run(main)
