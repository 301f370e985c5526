"""A small file of each kind that commands read, the reader of each, and what its checksums cover."""

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import lmdb
import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from common.datasets import DATASETS, Dataset, read_dataset
from common.files import file_checksum
from data_prep.label_files import open_truth
from data_prep.read_options import ReadOptions
from data_prep.scene_image import open_image
from inference.deploy import read_deploy
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.experiment import read_experiment
from prototxt_gen.model_card import CHECKSUM, ModelCard, read_card, write_card
from tests.conftest import TINY, write_lmdb
from tests.datasets import LAND, ROAD, with_values
from tests.inference.pixel_net import write_deploy
from training import snapshots
from training.provenance import read_provenance
from training.run import check_data

SIDE = 12
PICTURE = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), np.uint8), (0, 0), 2)
MASK = np.kron(np.array([[0, 255], [255, 0]], np.uint8), np.ones((SIDE // 2,) * 2, np.uint8))
NUMBERS = with_values(LAND, {"urban": [1], "water": [2]})
CARD = {"experiment": "e", "model": "m", "mean": (1.0, 2.0, 3.0), "scale": 0.5, "crop": 33}


@dataclass(frozen=True)
class Kind:
    """One kind of file: `make(folder)` writes a good one and returns its path, `read(path)` what is in it.

    `covered(data)` are the places of bytes that a checksum covers, in the file or beside it: to read another
    thing there is a fault.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    covered: Callable[[bytes], range] = lambda data: range(0)


def everything(data: bytes) -> range:
    return range(len(data) + 1)  # to a place beyond it: nothing is cut off


def picture(ending: str, *options: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"1_sat{ending}"
        path.write_bytes(cv2.imencode(ending, PICTURE, options)[1].tobytes())
        return path

    return make


def png_mask(folder: Path) -> Path:
    path = folder / "1_mask.png"
    path.write_bytes(cv2.imencode(".png", cv2.merge([MASK] * 3))[1].tobytes())
    return path


def raster(path: Path, bands: np.ndarray, **options: object) -> Path:
    profile = {"driver": "GTiff", "count": len(bands), "height": SIDE, "width": SIDE, "dtype": bands.dtype}
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.open(path, "w", **profile, compress="deflate", **options) as file,
    ):
        file.write(bands)
    return path


def tiff(folder: Path) -> Path:
    return raster(folder / "1_sat.tif", PICTURE.transpose(2, 0, 1), photometric="RGB")


def geotiff_mask(folder: Path) -> Path:
    place = {"crs": "EPSG:32633", "transform": from_origin(500000, 5000000, 0.5, 0.5), "nodata": 0}
    return raster(folder / "1_mask.tif", (MASK[None] // 255 + 1).astype(np.uint16), **place)


def pixels(path: Path) -> object:
    with rasterio.Env(), open_image(path, ReadOptions()) as image:
        return image.shape, image.notes, image.read(slice(None)).tobytes()


def labels(dataset: Dataset) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        with open_truth(path, dataset) as mask:
            height, width = mask.shape
            return mask.shape, mask.read(slice(0, height), slice(0, width)).tobytes()

    return read


def compressed(data: bytes) -> range:
    """The one strip of such a TIFF, whose end Deflate's checksum is."""
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.MemoryFile(data) as file,
        file.open() as dataset,
    ):
        place = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        size = int(dataset.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=1))
    return range(place, place + size)


def text_file(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def net_file(folder: Path) -> Path:
    return write_deploy(folder / "deploy.prototxt", 33, land=6, road=2)


def read_net_file(path: Path) -> object:
    deploy = read_deploy(path)
    return deploy.output_for("land"), deploy.side, deploy.channels, deploy.net.SerializeToString()


def weights_file(folder: Path) -> Path:
    path = folder / "weights.caffemodel"
    write_caffemodel(path, "net", {"conv1": [np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)]})
    write_card(path, ModelCard(**CARD, iteration=4, tasks={"road": ROAD}))
    return path


def read_weights(path: Path) -> object:
    return {
        name: [(blob.shape, blob.tobytes()) for blob in blobs]
        for name, blobs in read_caffemodel(path).items()
    }


def card_file(folder: Path) -> Path:
    return weights_file(folder).with_suffix(".json")


def read_card_file(path: Path) -> object:
    """The card, and the weights that go with it."""
    weights = path.with_suffix(".caffemodel")
    card = read_card(weights)
    assert card is not None
    return card.model_dump(), read_weights(weights)


def snapshot_file(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        snapshot = folder / "iter_00000004"
        snapshot.mkdir()
        weights_file(snapshot)
        state = caffe_pb2().SolverState(iter=4, current_step=0)
        state.history.add(data=[1.0, 2.0])
        (snapshot / "solver.solverstate").write_bytes(state.SerializeToString())
        manifest = {"iteration": 4, "ranks": 2, "score": 0.5}
        manifest["sha256"] = {path.name: file_checksum(path) for path in sorted(snapshot.iterdir())}
        (snapshot / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        return snapshot / name

    return make


def read_snapshot(path: Path) -> object:
    snapshot = snapshots.read(path.parent)
    assert snapshot.iteration == 4
    return snapshot, read_weights(snapshot.weights), snapshot.state.read_bytes()


def database_file(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for task, classes in (("land", 6), ("road", 2)):
            write_lmdb(folder / f"{task}_lmdb", task, classes, side=33, records=1)
            (folder / f"{task}_lmdb" / "lock.mdb").unlink(missing_ok=True)
        path = folder / "road_lmdb"
        manifest = json.loads((path / "manifest.json").read_text()) | {"records": 1}
        manifest["data_mdb_sha256"] = file_checksum(path / "data.mdb")
        (path / "manifest.json").write_text(json.dumps(manifest))
        (folder / "tiny.toml").write_text(TINY)
        return path / name

    return make


@cache
def experiment_of(folder: Path):
    """The tiny experiment, on the databases in a folder."""
    tasks = {"land": str(folder / "land_lmdb"), "road": str(folder / "road_lmdb")}
    settings = [f'tasks.{task}.source="{path}"' for task, path in tasks.items()]
    return read_experiment(folder / "tiny.toml", settings)


def read_database(path: Path) -> object:
    """What a training takes from a database: the checks before it, and the first record."""
    from training.provenance import Provenance

    exp = experiment_of(path.parent.parent)
    check_data(exp)
    with lmdb.open(str(path.parent), readonly=True, lock=False) as database, database.begin() as reading:
        records = [(bytes(key), bytes(value)) for key, value in reading.cursor()]
    return Provenance.of(exp, ()).model_dump(exclude={"databases"}), records


def origins_file(folder: Path) -> Path:
    entries = {
        "weights": [{"name": "a.caffemodel", "sha256": "ab" * 32}],
        "databases": {"land_lmdb": "cd" * 32},
    }
    (folder / "origins.json").write_text(json.dumps(entries | {"trained_on": {"land": "0a" * 6}}, indent=1))
    return folder / "origins.json"


def checksum_line(data: bytes) -> range:
    start = data.index(CHECKSUM.encode())
    return range(start, start + len(CHECKSUM) + 4 + 64)


ROAD_TOML = (DATASETS / "deepglobe_road.toml").read_text()
KINDS = {
    "JPEG": Kind(picture(".jpg", cv2.IMWRITE_JPEG_QUALITY, 60), pixels),
    "PNG": Kind(picture(".png"), pixels, everything),
    "TIFF": Kind(tiff, pixels, compressed),
    "GeoTIFF": Kind(geotiff_mask, labels(NUMBERS), compressed),
    "mask": Kind(png_mask, labels(ROAD), everything),
    "prototxt": Kind(net_file, read_net_file),
    "experiment TOML": Kind(text_file("tiny.toml", TINY), lambda path: read_experiment(path).model_dump()),
    "data-set TOML": Kind(
        text_file("roads.toml", ROAD_TOML[ROAD_TOML.index("title") :]),
        lambda path: read_dataset(path).model_dump(),
    ),
    "manifest": Kind(database_file("manifest.json"), read_database),
    "card": Kind(card_file, read_card_file, checksum_line),
    "snapshot manifest": Kind(snapshot_file("manifest.json"), read_snapshot),
    "caffemodel": Kind(weights_file, read_weights, everything),
    "caffemodel of a snapshot": Kind(snapshot_file("weights.caffemodel"), read_snapshot, everything),
    "solverstate": Kind(snapshot_file("solver.solverstate"), read_snapshot, everything),
    "origins": Kind(origins_file, lambda path: read_provenance(path.parent)),
    "LMDB": Kind(database_file("data.mdb"), read_database, everything),
}


def made(name: str, folder: Path) -> Path:
    """Write a good file of a kind into a new folder; return its path."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return KINDS[name].make(folder)
