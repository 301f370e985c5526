"""Split a data set by a seeded hash of the scene ids, or as others did; other commands read the file."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

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
        "--named", metavar="NAME", help="a published split by lists of ids: glnet, of deepglobe_land"
    )
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
    from data_prep.splits import make_split, named_split, read_split, write_split
    from data_prep.subsets import Subset

    ways = {"--named": args.named, "--extend": args.extend, "--train": args.train, "--seed": args.seed}
    given = [option for option, value in ways.items() if value is not None]
    if len(given) > 1 and given != ["--train", "--seed"]:
        raise DataError(given[0], f"comes with {given[1]}", "leave that out: the split has it")
    dataset = read_dataset(args.dataset)
    subset = Subset(dataset, leave_out=args.leave_out)
    scenes = find_scenes(args.folders, dataset, subset.left_out)
    cli.warn(*subset.warnings(args.folders))
    ids = [scene.id for scene in scenes]
    if args.named is not None:
        split = named_split(args.named, dataset.name)
        for part in ("train", "test"):
            split.select(scenes, part, f"--named {args.named}")
        if missing := sorted(split.ids.difference(ids, subset.left_out)):
            count = f"{plural(len(missing), 'scene')} of {len(split.ids)}"
            cli.warn(f"{args.named}: {count} are not in the folders, as {missing[0]}")
    elif args.extend is not None:
        split = read_split(args.extend, dataset.name).extended(ids)
    else:
        train = dataset.train if args.train is None else args.train
        if train is None:
            fact = f"is not given, and {dataset.name} has no key train"
            raise DataError("--train", fact, "say how many scenes are for training")
        split = make_split(dataset.name, ids, train, args.seed or 0)
    write_split(args.out, split, args.overwrite)
    numbers = [f"{len(split.train)} train"]
    if split.validation:
        numbers.append(f"{len(split.validation)} validation")
    counts = f"{', '.join(numbers)} and {plural(len(split.test), 'test scene')}"
    origin = f"seed {split.seed}" if split.source is None else f"as in {split.source}"
    print(f"{args.out}: {counts}, {origin}")


if __name__ == "__main__":
    cli.run(main)
