"""Turn maps into polygons for a GIS: class, hectares and mean confidence of each patch.

A patch is all pixels of one class that are neighbours (side by side). GeoPackage (.gpkg, with the classes'
colours for QGIS), GeoJSON (.geojson) or FlatGeobuf (.fgb), by the ending of --out.
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import add_dataset_option, add_pixel_size


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__)
    parser.add_argument(
        "maps", metavar="MAP", type=Path, nargs="+", help="maps of dfcnet predict, or folders of them"
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write: .gpkg, .geojson or .fgb")
    add_dataset_option(parser, "the maps, by their manifests")
    add_pixel_size(parser)
    parser.add_argument(
        "--min-area",
        metavar="AREA",
        help="smaller patches take the class of their largest neighbour: 0.5ha, or 25px",
    )
    parser.add_argument(
        "--simplify",
        type=float,
        default=0.0,
        metavar="PIXELS",
        help="simplify borders, once for both neighbours; 1 takes out the stairs of the pixels",
    )
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Write the polygons and print how many there are."""
    args = parse_arguments()
    from common.errors import DataError
    from common.numbers import check_number
    from inference.polygon_files import SmallestArea, check_output, write_polygons
    from inference.prediction_manifest import dataset_by_manifests
    from inference.scene_files import given_maps

    least = None
    if args.min_area is not None:
        found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(ha|px)", args.min_area)
        if not found:
            raise DataError(
                "--min-area", f"is {args.min_area!r}", "give hectares or pixels, as 0.5ha or 25px"
            )
        least = SmallestArea(float(found[1]), found[2] == "px")
    check_number("--simplify", args.simplify, 0)
    check_output(args.out, args.overwrite)
    maps = given_maps(args.maps)
    dataset = dataset_by_manifests(maps.items(), args.dataset)
    options = (args.pixel_size, least, args.simplify, args.overwrite)
    print(write_polygons(maps, args.out, dataset, *options).line(args.out))


if __name__ == "__main__":
    cli.run(main)
