"""Draw the paper's figures.

`features`: feature maps of several models for the same images (Figure 3).
`compare`: image, truth and predictions side by side (Figure 4).
"""

import argparse
import sys
from pathlib import Path

import cli
from data_options import add_mapping


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser("compare", help="image, truth and predictions side by side")
    compare.add_argument("--truth", type=Path, required=True, help="folder of true masks")
    compare.add_argument("--pred", type=Path, required=True, nargs="+", help="folders of predicted masks")
    add_mapping(compare)
    compare.add_argument("--names", nargs="+", help="a title per --pred folder (default: its name)")
    features = commands.add_parser("features", help="deepest feature maps of models side by side")
    features.add_argument("--deploy", type=Path, required=True, nargs="+", help="deploy prototxt per model")
    features.add_argument("--weights", type=Path, required=True, nargs="+", help=".caffemodel per model")
    features.add_argument("--names", nargs="+", help="a title per model (default: its weights' folder)")
    features.add_argument("--channels", type=int, default=2, help="shown beside the mean (default: 2)")
    features.add_argument(
        "--blobs", nargs="+", help="to show (default: the deepest of one downsample rate, before the heads)"
    )
    features.add_argument(
        "--tile", type=int, help="side of the middle shown, 32k+1 pixels (default: the first prototxt's)"
    )
    for command, rows in ((features, 3), (compare, 4)):
        command.add_argument("--images", type=Path, required=True, help="folder of <id>_sat.*")
        command.add_argument("--task", choices=("land", "road"), default="land", help="default: land")
        command.add_argument("--out", type=Path, required=True, help="picture to write (.png, .pdf, .svg)")
        which = command.add_mutually_exclusive_group()
        which.add_argument("--scenes", nargs="+", metavar="ID", help="the scenes to show")
        which.add_argument("--rows", type=int, default=rows, help=f"or how many to choose (default: {rows})")
        cli.add_overwrite(command)
    return parser.parse_args()


def draw_comparison(arguments: argparse.Namespace) -> list[str]:
    """Draw Figure 4; return the scenes shown."""
    from data_prep.classes import TASKS
    from data_prep.label_values import read_label_values
    from evaluation import comparison, figures

    folders = (arguments.images, arguments.truth, arguments.pred)
    task = TASKS[arguments.task]
    names = figures.column_names(arguments.pred, arguments.names, "--pred folders")
    scenes = comparison.scenes_to_show(*folders, arguments.scenes, arguments.rows)
    values = arguments.mapping and read_label_values(arguments.mapping, task)
    rows = list(comparison.read_rows(*folders, scenes, task, values))
    figures.compare(rows, names, task, arguments.out, arguments.overwrite)
    return scenes


def draw_feature_maps(arguments: argparse.Namespace) -> list[str]:
    """Draw Figure 3; return the scenes shown."""
    from data_prep.classes import TASKS
    from evaluation import comparison, figures
    from evaluation.feature_figure import draw_models

    folders = [weights.parent for weights in arguments.weights]
    names = figures.different_names(folders, arguments.names, "--weights")
    figures.column_names(arguments.weights, [str(path) for path in arguments.deploy], "--weights", "--deploy")
    scenes = comparison.choose_images(arguments.images, arguments.scenes, arguments.rows)
    blobs = draw_models(
        dict(zip(names, zip(arguments.deploy, arguments.weights, strict=True), strict=True)),
        scenes,
        TASKS[arguments.task],
        arguments.out,
        channels=arguments.channels,
        side=arguments.tile,
        blobs=arguments.blobs,
        overwrite=arguments.overwrite,
        warn=lambda line: print(f"figure.py: warning: {line}", file=sys.stderr),
    )
    for name, blob in zip(names, blobs, strict=True):
        print(f"{name}: {blob.name}, {blob.rate} times smaller than the image")
    return list(scenes)


def main() -> None:
    """Draw the figure asked for."""
    arguments = parse()
    from evaluation.figures import check_output

    check_output(arguments.out, arguments.overwrite)
    draw = {"compare": draw_comparison, "features": draw_feature_maps}[arguments.command]
    print(f"{arguments.out}: scenes {' '.join(draw(arguments))}")


if __name__ == "__main__":
    cli.run(main)
