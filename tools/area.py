"""Accuracy and areas of maps from an interpreted sample, with standard errors and 95 % intervals.

The sample is one that dfcnet sample drew from these maps, with its column `reference` filled in.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("sample", metavar="SAMPLE", type=Path, help="the interpreted sample, .gpkg or .csv")
    parser.add_argument(
        "maps", metavar="MAP", type=Path, nargs="+", help="the maps that it was drawn from, or their folders"
    )
    parser.add_argument(
        "--drop-missing",
        action="store_true",
        help="leave out points without a reference: right only if chance decided which they are",
    )
    parser.add_argument("--json", type=Path, help="write all numbers here")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Print the estimates; write them where asked."""
    args = parse_arguments()
    import json

    from common.files import refuse_existing, write_text
    from common.numbers import plural
    from evaluation.area_assessment import as_numbers, assess, check_maps, table
    from evaluation.sample_files import read_design, read_sample
    from inference.scene_files import given_maps

    if args.json:
        refuse_existing(args.json, args.overwrite)
    design = read_design(args.sample)
    check_maps(design, given_maps(args.maps))
    assessment = assess(args.sample, read_sample(args.sample, design), design, args.drop_missing)
    if assessment.missing:
        missing = plural(assessment.missing, "point")
        cli.warn(f"{missing} without a reference left out: right only if chance decided which they are")
    print(table(assessment))
    if args.json:
        text = json.dumps(as_numbers(assessment), indent=2, allow_nan=False)
        write_text(args.json, text + "\n", args.overwrite)


if __name__ == "__main__":
    cli.run(main)
