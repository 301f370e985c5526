"""Check a database against its manifest: file, keys, shapes, labels, counts; draw a sheet of its crops."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("database", type=Path, metavar="DB", help="a database of dfcnet build-lmdb")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="draw crops with their labels over them")
    parser.add_argument("--crops", type=int, default=16, metavar="N", help="on the sheet (default 16)")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Check, draw, and print a short summary."""
    args = parse_arguments()
    from common.numbers import plural
    from data_prep.inspection import check_database, check_sheet, contact_sheet, write_sheet

    if args.sheet is not None:
        check_sheet(args.sheet, args.overwrite)
    database = check_database(args.database)
    if args.sheet is not None:
        write_sheet(args.sheet, contact_sheet(args.database, args.crops), args.overwrite)
    records = plural(database.records, "record")
    print(f"{args.database}: {records}, {database.size / 1e6:.1f} MB, as its manifest says")
    print(f"{args.database}: {database.share_line}")


if __name__ == "__main__":
    cli.run(main)
