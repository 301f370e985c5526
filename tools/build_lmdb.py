#!/usr/bin/env python
"""Build an LMDB for training: resized crops of scenes as 4-channel records (B, G, R, label)."""

import argparse
from pathlib import Path

from cli import add_overwrite, run
from data_options import add_mapping, add_part, add_reading, add_task, add_workers


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_task(parser)
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="folders of <id>_sat.jpg and <id>_mask.png, or of <id>_sat.tif and <id>_mask.tif",
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
        "--encode",
        choices=["raw", "png"],
        default="raw",
        help="pixels as they are, or PNG: half the size, ten times the work (default raw)",
    )
    parser.add_argument(
        "--rotate", action="store_true", help="turn each record by a random multiple of 90 degrees"
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
    add_mapping(parser)
    add_reading(parser)
    add_part(parser, "take one part of")
    parser.add_argument(
        "--part",
        choices=["train", "test"],
        default="train",
        help="with --split or --hold-out: which part (default train)",
    )
    add_workers(parser)
    add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Find, split, cut, write, and print a short summary."""
    args = parse_arguments()
    from data_prep.choice import Part, choose_scenes
    from data_prep.classes import TASKS
    from data_prep.label_values import read_label_values
    from data_prep.lmdb_writer import write_database
    from data_prep.reading import Reading
    from data_prep.records import Recipe
    from data_prep.shuffling import shuffle_masks

    recipe = Recipe(
        args.task,
        args.crop,
        args.margin,
        args.variants,
        args.seed,
        args.encode,
        args.rotate,
        args.class_aware,
    )
    part = Part(args.task, args.part, args.hold_out, args.split, args.leave_out)
    scenes, noted = choose_scenes(args.images, part), part.note()
    reading = Reading(args.stretch, args.bands)
    values = args.mapping and read_label_values(args.mapping, TASKS[args.task])
    if args.shuffle_labels:
        scenes = shuffle_masks(scenes, TASKS[args.task], args.seed, values, reading)
        noted = {**(noted or {}), "labels": "of another image"}
    database = write_database(
        scenes,
        recipe,
        args.out,
        args.overwrite,
        noted,
        workers=args.workers,
        values=values,
        reading=reading,
        tell=lambda line: print(line, flush=True),
    )
    print(
        f"{args.out}: {database.records} records of {len(scenes)} scenes, {recipe.side}x{recipe.side} pixels"
    )
    print(f"{args.out}: {database.size / 1e6:.1f} MB; {database.share_line}")


if __name__ == "__main__":
    run(main)
