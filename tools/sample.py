"""Draw a stratified random sample of pixels from maps, for an interpreter to say what is there.

Beside the sample stands its design; dfcnet area reads both and gives accuracy and areas with intervals.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import add_dataset_option, add_pixel_size


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("maps", metavar="MAP", type=Path, nargs="+", help="maps, or folders of them")
    parser.add_argument("--out", type=Path, required=True, help="file of points to write (.gpkg, .csv)")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--per-class", type=int, metavar="N", help="points of each class")
    size.add_argument(
        "--standard-error",
        type=float,
        metavar="S",
        help="or as many as give the overall accuracy this standard error, as 0.01",
    )
    parser.add_argument(
        "--expected",
        nargs="+",
        metavar="U",
        help="user's accuracies that --standard-error counts with: one for all classes, as 0.8, and others "
        "by name, as urban=0.7",
    )
    parser.add_argument(
        "--at-least",
        type=int,
        default=50,
        metavar="N",
        help="points of a rare class with --standard-error; the others share the rest by area (default: 50)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    add_pixel_size(parser)
    parser.add_argument(
        "--truth", type=Path, metavar="DIR", help="fill in what true masks say, to try out what comes next"
    )
    add_dataset_option(parser, "the maps, by their manifests")
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Write the sample and its design; print how many points of each class there are."""
    args = parse_arguments()
    from functools import partial

    from tqdm import tqdm

    from common.numbers import check_number, plural
    from evaluation.sample_files import check_sample_path, design_path, write_sample
    from evaluation.sampling import SampleSize, design_of, draw, interpreted, survey
    from inference.prediction_manifest import dataset_by_manifests
    from inference.scene_files import given_maps

    check_sample_path(args.out, args.overwrite)
    check_number("--seed", args.seed, 0)
    maps = given_maps(args.maps)
    dataset = dataset_by_manifests(maps.items(), args.dataset)
    size = SampleSize(args.per_class, args.standard_error, args.expected, args.at_least)
    size.check(dataset)
    progress = partial(tqdm, unit="map", disable=None, leave=False)
    surveyed = survey(maps, dataset, args.pixel_size, progress)
    points = draw(surveyed, size.points(surveyed), args.seed)
    if args.truth:
        points = interpreted(points, args.truth, dataset)
    design = design_of(surveyed, points, args.seed)
    write_sample(args.out, points, design, args.overwrite)
    for stratum in design.strata:
        area = f"{stratum.pixels:,} pixels, {stratum.hectares:,.2f} ha"
        print(f"{stratum.name}: {plural(stratum.points, 'point')} of {area}")
    print(f"{args.out}: {plural(len(points), 'point')}; design in {design_path(args.out)}")


if __name__ == "__main__":
    cli.run(main)
