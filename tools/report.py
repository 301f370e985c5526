"""Write a run's report: one HTML page with what was trained, scores, scenes, and the deviations.

The page needs no network and no other file. Scores, areas and reliability come from the JSON files of
dfcnet evaluate, area and calibrate, scenes from folders of images, maps and, if there are any, true masks.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import MAPPING, add_dataset_option


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that dfcnet train wrote")
    parser.add_argument("--scores", type=Path, metavar="JSON", help="of dfcnet evaluate")
    parser.add_argument("--areas", type=Path, metavar="JSON", help="of dfcnet area")
    parser.add_argument("--calibration", type=Path, metavar="JSON", help="of dfcnet calibrate")
    parser.add_argument("--images", type=Path, help="folder of images, by the data set's names")
    parser.add_argument("--truth", type=Path, help="folder of true masks, if there are any")
    add_dataset_option(parser, "the run's main task")
    cli.add_retired(parser, MAPPING)
    parser.add_argument("--pred", type=Path, help="folder of predicted masks")
    parser.add_argument("--scenes", type=int, default=6, help="how many to show, 1 to 24 (default: 6)")
    parser.add_argument("--out", type=Path, help="page to write (default: RUN/report.html)")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Write the page and print where it is."""
    args = parse_arguments()
    from common.datasets import read_dataset
    from common.errors import DataError
    from common.files import refuse_existing
    from evaluation.page.build import SceneFolders, write_report

    folders = (args.images, args.truth, args.pred)
    if any(folders) and not (args.images and args.pred):
        raise DataError("--images, --pred", "one is missing", "give both, or none; --truth if there is one")
    out = args.out or args.run / "report.html"
    refuse_existing(out, args.overwrite)
    scenes = SceneFolders(*folders) if any(folders) else None
    dataset = args.dataset and read_dataset(args.dataset)
    write_report(
        args.run,
        out,
        args.scores,
        scenes,
        args.scenes,
        args.overwrite,
        dataset,
        args.areas,
        args.calibration,
    )
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main)
