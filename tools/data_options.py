"""Arguments that the commands on data sets share."""

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from inference.backends import BACKENDS, CAFFE

# Options of version 1.0, and what stands in their place.
MAPPING = {
    "--mapping": "write its numbers as values of the classes, in a data set's file (docs/own_imagery.md)"
}
STRETCH = {
    "--stretch": "write stretch = [LOW, HIGH] in the data set's file: prediction takes it from there too"
}
TASK = {"--task": "leave it out: the maps' manifests say it, or --dataset NAME does"}
CROP = {"--crop": "name an experiment, which has the crop, and its task: dfcnet build-lmdb dfcnet land ..."}


def add_dataset(parser: ArgumentParser) -> None:
    """Add the data set."""
    parser.add_argument("dataset", help="a data set: a name of datasets/, or a path to a .toml file")


def add_dataset_option(parser: ArgumentParser, known_from: str) -> None:
    """Add `--dataset` where the data set is known from somewhere else by default."""
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help=f"data set of the true masks: of datasets/, or a .toml file (default: that of {known_from})",
    )


def add_leave_out(parser: ArgumentParser) -> None:
    """Add `--leave-out`: a list that verify_data.py --fix-list writes."""
    parser.add_argument("--leave-out", type=Path, metavar="FILE", help="scene ids to leave out, one a line")


def add_part(parser: ArgumentParser, does: str) -> None:
    """Add `--split`, `--hold-out` and `--leave-out`; `does` says what is done with one part."""
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--split", type=Path, metavar="JSON", help=f"{does} the scenes in a dfcnet split-data file"
    )
    parts.add_argument(
        "--hold-out",
        type=int,
        metavar="K",
        help=f"{does} the scenes, where every K-th, by id sorted as text, is for testing",
    )
    add_leave_out(parser)


def add_bands(parser: ArgumentParser) -> None:
    """Add `--bands`: which they are in files that do not say it."""
    parser.add_argument(
        "--bands",
        type=int,
        nargs="+",
        metavar="N",
        help="number in the image files, from 1, of each band of the data set, as 3 2 1 for red, green, blue",
    )


def add_pixel_size(parser: ArgumentParser) -> None:
    """Add `--pixel-size`: of maps without a CRS, as those of JPEG and PNG scenes."""
    parser.add_argument(
        "--pixel-size", type=float, metavar="METRES", help="side of a pixel, for maps without a CRS"
    )


def add_workers(parser: ArgumentParser) -> None:
    """Add `--workers`: all cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--workers", type=int, default=cores, metavar="N", help="processes; the result does not depend on it"
    )


def parse_study(parser: ArgumentParser, kind: str, named: str) -> Namespace:
    """Return the arguments of a command that carries out a study, or what is made of studies."""
    parser.add_argument(kind, help=f"{named} of studies/, or a path to a .toml file")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("DFCNET_DATA"),
        help=f"folder that the {kind}'s data paths are relative to (default: $DFCNET_DATA)",
    )
    parser.add_argument("--out", type=Path, help=f"folder of the {kind} (default: runs/<its name>)")
    device = parser.add_mutually_exclusive_group(required=True)
    device.add_argument("--cpu", action="store_true", help="train on the CPU")
    device.add_argument("--gpus", help="train on these GPUs, one process each: 0-7, or 0,2,3")
    args = parser.parse_args()
    if args.data is None:
        parser.error("--data: give the folder of the scenes, or set DFCNET_DATA")
    return args


def add_tiles(parser: ArgumentParser) -> None:
    """Add the options of prediction: tiles, what is averaged, and what computes."""
    tiles = parser.add_argument_group("tiles")
    tiles.add_argument("--tile", type=int, help="side of a tile, 32k+1 pixels (default: the prototxt's)")
    tiles.add_argument("--overlap", type=int, help="pixels that neighbours share (default: tile / 4)")
    tiles.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        help="average the answers at these sizes",
    )
    tiles.add_argument("--flip", action="store_true", help="average with the answers to the mirrored image")
    tiles.add_argument("--batch", type=int, default=1, help="tiles that the net gets at once (default: 1)")
    tiles.add_argument("--threads", type=int, help="threads of BLAS (default: an equal share of the cores)")
    tiles.add_argument(
        "--backend",
        "--engine",  # its former name
        choices=BACKENDS,
        default=CAFFE,
        help="what computes: Caffe (fused nets also in bfloat16: not quite the same maps), or one that "
        "needs the extra `onnx` or `openvino` (default: caffe)",
    )
    tiles.add_argument("--gpu", type=gpu_number, metavar="N", help="compute on GPU N (default: on the CPU)")


def gpu_number(text: str) -> int:
    """Return the number of a GPU."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a GPU's number; nvidia-smi lists them from 0")
    return int(text)
