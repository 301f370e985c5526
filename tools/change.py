"""Compare two maps of one place: which class has become which, as a raster and in hectares.

The folder gets transitions.tif, with names and colours for a GIS, transitions.csv and change.json.
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
    parser.add_argument("before", metavar="BEFORE", type=Path, help="map of dfcnet predict")
    parser.add_argument("after", metavar="AFTER", type=Path, help="map of the same grid and classes")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    add_dataset_option(parser, "the maps, by their manifests")
    add_pixel_size(parser)
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Write the folder and print the matrix."""
    args = parse_arguments()
    from evaluation.change import as_text, write_change
    from inference.prediction_manifest import dataset_by_manifests
    from inference.scene_files import given_map

    maps = [given_map(path) for path in (args.before, args.after)]
    dataset = dataset_by_manifests(maps, args.dataset)
    print(as_text(write_change(*maps, args.out, dataset, args.pixel_size, args.overwrite)))


if __name__ == "__main__":
    cli.run(main)
