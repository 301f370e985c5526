"""What is checked: the GPUs, or the CPU in a GPU's place, with the files and the sizes of everything."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from gpu_check.devices import CPU, Device
from gpu_check.isolation import run_isolated
from gpu_check.nets import Case, write_net

NET = "dfcnet"
OTHER_NETS = ("baseline", "classmate")
# Variables of Caffe.
NO_CACHE = {"CAFFE_FUSED_CACHE_MB": "0"}  # strips and parts of images where the maps are small
TF32 = {"CAFFE_TF32": "1"}


@dataclass(frozen=True)
class Sizes:
    """Sides in pixels: of what is compared with the CPU, of crops and tiles that are timed."""

    parity: int
    tile: int
    crops: tuple[int, ...]
    tiles: tuple[int, ...]


FULL = Sizes(129, 513, (1025, 513), (1025, 513))
QUICK = Sizes(33, 65, (65,), (65,))


@dataclass(frozen=True)
class Target:
    """The `gpus` GPUs (0: the CPU in a GPU's place) that are checked, with files in `folder`.

    `quick`: narrow nets and small crops. `references`: a folder of answers of the CPU; what it lacks is
    computed. `peer`: a Python with PyTorch. `scenes`: a folder with land/ and road/, trained on for
    `train_seconds`.
    """

    folder: Path
    gpus: int
    quick: bool = False
    references: Path | None = None
    peer: str | None = None
    scenes: Path | None = None
    train_seconds: float = 200
    _number: Iterator[int] = field(default_factory=count)

    @property
    def device(self) -> Device:
        """The first GPU."""
        return Device(0) if self.gpus else CPU

    @property
    def gpu_numbers(self) -> list[int]:
        """The numbers of the GPUs."""
        return list(range(self.gpus))

    @property
    def sizes(self) -> Sizes:
        """How large everything is."""
        return QUICK if self.quick else FULL

    @property
    def settings(self) -> list[str]:
        """What makes an experiment small, as --set arguments."""
        return ["input.crop=33"] if self.quick else []

    def run(
        self, function: Callable, *arguments: object, environment: dict[str, str] | None = None, **options
    ) -> object:
        """Return function(*arguments), computed on the device; `options` are those of `run_isolated`."""
        variables = {**self.device.environment, **(environment or {})}
        return run_isolated(function, *arguments, environment=variables, **options)

    def case(self, net: str, trains: bool, side: int) -> Case:
        """Write a net for crops or tiles of `side` pixels, if it is not there yet."""
        return write_net(self.folder / "nets", net, trains, side, self.quick)

    def new_folder(self) -> Path:
        """Make a folder."""
        folder = self.folder / str(next(self._number))
        folder.mkdir()
        return folder
