#!/usr/bin/env python
"""Build an LMDB for training: resized crops of DeepGlobe scenes as 4-channel records (B, G, R, label)."""

import argparse
from pathlib import Path

from cli import add_overwrite, run


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["land", "road"], help="land cover (6 classes) or road (2)")
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="folders of <id>_sat.jpg and <id>_mask.png",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DB", help="the database, a new folder")
    parser.add_argument("--crop", type=int, required=True, metavar="N", help="the net's input size, 32k + 1")
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
        "--hold-out", type=int, metavar="K", help="keep every K-th scene, by id sorted as text, for testing"
    )
    parser.add_argument(
        "--part",
        choices=["train", "test"],
        default="train",
        help="with --hold-out: which part (default train)",
    )
    add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Find, split, cut, write, and print a short summary."""
    args = parse_arguments()
    from data_prep.lmdb_writer import write_database
    from data_prep.records import Recipe
    from data_prep.scenes import find_scenes, split

    recipe = Recipe(args.task, args.crop, args.margin, args.variants, args.seed)
    scenes = find_scenes(args.images)
    noted = None
    if args.hold_out is not None:
        scenes = split(scenes, args.hold_out, args.part)
        noted = {"hold_out": args.hold_out, "part": args.part}
    database = write_database(scenes, recipe, args.out, args.overwrite, noted)
    shares = ", ".join(f"{name} {100 * share:.3g} %" for name, share in database.shares.items())
    print(
        f"{args.out}: {database.records} records of {len(scenes)} scenes, {recipe.side}x{recipe.side} pixels"
    )
    print(f"{args.out}: {database.size / 1e6:.1f} MB; {shares}")


if __name__ == "__main__":
    run(main)
