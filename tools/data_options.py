"""Arguments that the commands on data sets share."""

import os
from argparse import ArgumentParser
from pathlib import Path


def add_task(parser: ArgumentParser) -> None:
    """Add the task."""
    parser.add_argument("task", choices=["land", "road"], help="land cover (6 classes) or road (2)")


def add_leave_out(parser: ArgumentParser) -> None:
    """Add `--leave-out`: a list that verify_data.py --fix-list writes."""
    parser.add_argument("--leave-out", type=Path, metavar="FILE", help="scene ids to leave out, one a line")


def add_part(parser: ArgumentParser, does: str) -> None:
    """Add `--split`, `--hold-out` and `--leave-out`; `does` says what is done with one part."""
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--split", type=Path, metavar="JSON", help=f"{does} the scenes in a split_data.py file"
    )
    parts.add_argument(
        "--hold-out",
        type=int,
        metavar="K",
        help=f"{does} the scenes, where every K-th, by id sorted as text, is for testing",
    )
    add_leave_out(parser)


def add_mapping(parser: ArgumentParser) -> None:
    """Add `--mapping`: the numbers of true GeoTIFF masks."""
    parser.add_argument(
        "--mapping", type=Path, metavar="TOML", help="which class each number in a true *_mask.tif is"
    )


def add_reading(parser: ArgumentParser) -> None:
    """Add `--bands` and `--stretch`: how images are read that are no 8-bit RGB or grey."""
    parser.add_argument(
        "--stretch",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values that become 0 and 255 where an image has more than 8 bits "
        "(default: 2nd and 98th percentile of each band)",
    )
    parser.add_argument(
        "--bands", type=int, nargs=3, metavar=("R", "G", "B"), help="bands of red, green, blue, from 1"
    )


def add_workers(parser: ArgumentParser) -> None:
    """Add `--workers`: all cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--workers", type=int, default=cores, metavar="N", help="processes; the result does not depend on it"
    )
