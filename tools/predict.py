"""Map scenes with a deploy net and weights: tiles, averaged probabilities, masks in DeepGlobe's colours."""

import argparse
import sys
from functools import partial
from pathlib import Path

import cli
from tqdm import tqdm


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", metavar="INPUT", type=Path, nargs="+", help="images, or folders of *_sat.*")
    parser.add_argument("--deploy", type=Path, required=True, help="deploy prototxt")
    parser.add_argument("--weights", type=Path, required=True, help=".caffemodel, its card .json beside it")
    parser.add_argument("--out", type=Path, required=True, help="folder for <id>_mask.png")
    parser.add_argument("--task", choices=("land", "road"), default="land", help="default: land")
    parser.add_argument("--tile", type=int, help="side of a tile, 32k+1 pixels (default: the prototxt's)")
    parser.add_argument("--overlap", type=int, help="pixels that neighbours share (default: tile / 4)")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--hold-out",
        type=int,
        metavar="K",
        help="only the scenes that build_lmdb.py --hold-out K left for testing",
    )
    parts.add_argument(
        "--split", type=Path, metavar="JSON", help="only the scenes of the test part of a split_data.py file"
    )
    cli.add_overwrite(parser)
    return parser.parse_args()


def main() -> None:
    """Predict the maps and print one line of summary."""
    arguments = parse()
    from data_prep.classes import TASKS
    from data_prep.splits import hold_out, read_split
    from inference.folders import find_images
    from inference.loading import load_predictor
    from inference.mapping import map_scenes, refuse_existing_maps

    task = TASKS[arguments.task]
    scenes = find_images(arguments.inputs)
    if arguments.hold_out is not None:
        scenes = hold_out(scenes, arguments.hold_out, "test")
    if arguments.split is not None:
        scenes = read_split(arguments.split, task.name).pick(scenes, "test", arguments.split)
    refuse_existing_maps(scenes, arguments.out, arguments.overwrite)
    predictor = load_predictor(
        arguments.deploy,
        arguments.weights,
        task,
        overlap=arguments.overlap,
        side=arguments.tile,
        warn=lambda line: print(f"predict.py: warning: {line}", file=sys.stderr),
    )
    progress = partial(tqdm, unit="scene", disable=None)
    done = map_scenes(
        predictor, scenes, arguments.out, task, overwrite=arguments.overwrite, progress=progress
    )
    maps = "map" if done.scenes == 1 else "maps"
    print(f"{done.scenes} {task.name} {maps} in {arguments.out}, {done.seconds_per_scene:.2f} s a scene")


if __name__ == "__main__":
    cli.run(main)
