"""Draw the paper's figures.

`features`: feature maps of several models for the same images (Figure 3).
`compare`: image, truth and predictions side by side (Figure 4).
`reliability`: how often a net is right, by how sure it is, before and after calibration.
`areas`: a map, its polygons, and the areas of the classes with their intervals.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli
from data_options import MAPPING, TASK, add_dataset_option


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = cli.make_parser(__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser("compare", help="image, truth and predictions side by side")
    compare.add_argument("--truth", type=Path, help="folder of true masks, if there are any")
    compare.add_argument("--pred", type=Path, required=True, nargs="+", help="folders of predicted masks")
    add_dataset_option(compare, "the maps, by their manifests")
    cli.add_retired(compare, MAPPING | TASK)
    compare.add_argument("--names", nargs="+", help="a title per --pred folder (default: its name)")
    features = commands.add_parser("features", help="deepest feature maps of models side by side")
    features.add_argument("--deploy", type=Path, required=True, nargs="+", help="deploy prototxt per model")
    features.add_argument("--weights", type=Path, required=True, nargs="+", help=".caffemodel per model")
    features.add_argument("--task", help="one of those that the nets have learnt (default: the first)")
    add_dataset_option(features, "the weights' card")
    features.add_argument("--names", nargs="+", help="a title per model (default: its weights' folder)")
    features.add_argument("--channels", type=int, default=2, help="shown beside the mean (default: 2)")
    features.add_argument(
        "--blobs", nargs="+", help="to show (default: the deepest of one downsample rate, before the heads)"
    )
    features.add_argument(
        "--tile", type=int, help="side of the middle shown, 32k+1 pixels (default: the first prototxt's)"
    )
    for command, rows in ((features, 3), (compare, 4)):
        command.add_argument(
            "--images", type=Path, required=True, help="folder of images, by the data set's names"
        )
        command.add_argument("--out", type=Path, required=True, help="picture to write (.png, .pdf, .svg)")
        scenes = command.add_mutually_exclusive_group()
        scenes.add_argument("--scenes", nargs="+", metavar="ID", help="the scenes to show")
        scenes.add_argument("--rows", type=int, default=rows, help=f"or how many to choose (default: {rows})")
        cli.add_overwrite(command)
    reliability = commands.add_parser("reliability", help="accuracy by confidence")
    reliability.add_argument("calibration", type=Path, metavar="JSON", help="of dfcnet calibrate")
    reliability.add_argument("--out", type=Path, required=True, help="picture to write (.png, .pdf, .svg)")
    cli.add_overwrite(reliability)
    areas = commands.add_parser("areas", help="a map, its polygons, and areas with intervals")
    areas.add_argument("areas", type=Path, metavar="JSON", help="of dfcnet area")
    areas.add_argument("--pred", type=Path, required=True, help="folder of the maps")
    areas.add_argument("--polygons", type=Path, required=True, metavar="FILE", help="of dfcnet polygons")
    areas.add_argument("--scene", metavar="ID", help="the scene to show (default: the first)")
    add_dataset_option(areas, "the maps, by their manifests")
    areas.add_argument("--out", type=Path, required=True, help="picture to write (.png, .pdf, .svg)")
    cli.add_overwrite(areas)
    return parser.parse_args()


def draw_comparison(args: argparse.Namespace) -> list[str]:
    """Draw Figure 4; return the scenes shown."""
    from evaluation import comparison, figures
    from evaluation.evaluation import dataset_of_maps

    folders = (args.images, args.truth, args.pred)
    names = figures.column_names(args.pred, args.names, "--pred folders")
    dataset = dataset_of_maps(args.pred, args.dataset)
    scenes = comparison.scenes_to_show(*folders, dataset, args.scenes, args.rows)
    rows = list(comparison.read_rows(*folders, scenes, dataset))
    figures.compare(rows, names, dataset, args.out, args.overwrite)
    return scenes


def draw_feature_maps(args: argparse.Namespace) -> list[str]:
    """Draw Figure 3; return the scenes shown."""
    from common.datasets import read_dataset
    from evaluation import comparison, figures
    from evaluation.feature_figure import draw_models
    from inference.deploy import read_deploy
    from inference.loading import trained_task

    folders = [weights.parent for weights in args.weights]
    names = figures.different_names(folders, args.names, "--weights")
    figures.column_names(args.weights, [str(path) for path in args.deploy], "--weights", "--deploy")
    named = args.dataset and read_dataset(args.dataset)
    first = (args.weights[0], read_deploy(args.deploy[0]), args.task, named, lambda line: None)
    dataset = trained_task(*first).dataset
    scenes = comparison.choose_images(args.images, dataset, args.scenes, args.rows)
    blobs = draw_models(
        dict(zip(names, zip(args.deploy, args.weights, strict=True), strict=True)),
        scenes,
        args.out,
        task=args.task,
        dataset=named,
        channels=args.channels,
        side=args.tile,
        blobs=args.blobs,
        overwrite=args.overwrite,
        warn=cli.warn,
    )
    for name, blob in zip(names, blobs, strict=True):
        print(f"{name}: {blob.name}, {blob.rate} times smaller than the image")
    return list(scenes)


def draw_reliability(args: argparse.Namespace) -> list[str]:
    """Draw the reliability diagram; return the scenes that it is of."""
    from evaluation import reliability_figure
    from evaluation.calibration_files import read_calibration

    calibration = read_calibration(args.calibration)
    reliability_figure.draw_reliability(calibration, args.out, args.overwrite)
    return list(calibration.scenes)


def draw_areas(args: argparse.Namespace) -> list[str]:
    """Draw a map, its polygons and the areas; return the scene shown."""
    from common.errors import DataError
    from evaluation import areas_figure
    from evaluation.comparison import LONGEST
    from evaluation.evaluation import dataset_of_maps
    from evaluation.page.areas import read_areas
    from inference.polygon_files import read_polygons
    from inference.prediction_manifest import open_map_of
    from inference.scene_files import find_maps

    dataset = dataset_of_maps([args.pred], args.dataset)
    areas, maps = read_areas(args.areas, dataset), find_maps(args.pred)
    scene = args.scene or min(maps)
    if scene not in maps:
        raise DataError(args.pred, f"has no map of scene {scene}", "choose another --scene")
    polygons = read_polygons(args.polygons, scene)
    with open_map_of(maps[scene], scene, dataset) as opened:
        labels = opened.shrunk(LONGEST)
    areas_figure.draw_areas(labels, polygons, areas, dataset, args.out, args.overwrite)
    return [scene]


def main() -> None:
    """Draw the figure asked for."""
    args = parse_arguments()
    from common.drawing import check_picture

    check_picture(args.out, args.overwrite)
    drawers = {
        "compare": draw_comparison,
        "features": draw_feature_maps,
        "reliability": draw_reliability,
        "areas": draw_areas,
    }
    print(f"{args.out}: scenes {' '.join(drawers[args.command](args))}")


if __name__ == "__main__":
    cli.run(main)
