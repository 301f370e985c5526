"""Check every scene of a data set before it is used; exit code 0: usable, 1: not as it is."""

import argparse
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import MAPPING, STRETCH, add_bands, add_dataset, add_leave_out, add_workers


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    add_dataset(parser)
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folders of images and masks")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the report, with all scenes, as JSON"
    )
    parser.add_argument("--fix-list", type=Path, metavar="FILE", help="write the ids that must be left out")
    add_leave_out(parser)
    add_bands(parser)
    cli.add_retired(parser, MAPPING | STRETCH)
    add_workers(parser)
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Check, write the two files, and print the table."""
    args = parse_arguments()
    from common.datasets import read_dataset
    from common.files import check_outputs, write_text
    from data_prep.read_options import ReadOptions
    from data_prep.subsets import Subset, write_leave_out
    from data_prep.verification import verify

    check_outputs((args.json, args.fix_list), args.overwrite)
    dataset = read_dataset(args.dataset)
    read_options = ReadOptions.of(dataset, numbers=args.bands)
    subset = Subset(dataset, leave_out=args.leave_out)
    warnings = subset.warnings(args.folders)
    report = verify(
        args.folders,
        dataset,
        read_options,
        workers=args.workers,
        leave_out=subset.left_out,
        warnings=warnings,
    )
    if args.json is not None:
        write_text(args.json, json.dumps(report.as_json(), indent=1) + "\n", args.overwrite)
    if args.fix_list is not None:
        write_leave_out(args.fix_list, report.bad_ids, args.overwrite)
    print(report.as_text())
    sys.exit(0 if report.usable else 1)


if __name__ == "__main__":
    cli.run(main)
