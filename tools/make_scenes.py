"""Make synthetic scenes in DeepGlobe's format: DIR/land and DIR/road with <id>_sat.jpg and <id>_mask.png."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--land", type=int, default=0, metavar="N", help="number of land cover scenes")
    parser.add_argument("--road", type=int, default=0, metavar="M", help="number of road scenes")
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels (default 512)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of all random draws (default 0)")
    parser.add_argument(
        "--geotiff",
        action="store_true",
        help="GeoTIFFs, with masks of class numbers from 1",
    )
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Write the scenes and say so."""
    args = parse_arguments()
    from common.numbers import plural
    from data_prep.synthetic.folders import write_scenes

    counts = {"land": args.land, "road": args.road}
    write_scenes(args.out, counts, args.size, args.seed, args.overwrite, args.geotiff)
    scenes = f"{args.land} land and {plural(args.road, 'road scene')}"
    print(f"{args.out}: {scenes} of {args.size}x{args.size} pixels")


if __name__ == "__main__":
    cli.run(main)
