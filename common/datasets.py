"""Data sets: which classes there are, how files and masks say them, and which bands an image has.

A data set is described once, in a TOML file of datasets/ or of a user's own. What is read there travels: into
the databases' manifests, the weights' cards and the maps' manifests, and from these to whoever needs it.
"""

import colorsys
import re
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from common.errors import ExperimentError
from common.settings import ConfigFile, Count, Positive, StrictModel, read_toml, validated

IGNORE = 255  # label of pixels without a class: no loss, no score
DATASETS = Path(__file__).resolve().parent.parent / "datasets"
RGB = ("red", "green", "blue")
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
GOLDEN_RATIO = 0.618034  # turns of the hue between two colours that nobody has chosen: neighbours differ

Byte = Annotated[int, Field(ge=0, le=255)]


def _of_hexadecimals(colour: object) -> object:
    """Return the colour in a text as "#ffff00"; anything else as it is."""
    if not isinstance(colour, str):
        return colour
    if not re.fullmatch("#[0-9A-Fa-f]{6}", colour):
        raise ValueError(f'{colour!r} is not a colour; give [255, 255, 0] or "#ffff00"')
    return tuple(bytes.fromhex(colour[1:]))


# Red, green, blue.
Colour = Annotated[tuple[Byte, Byte, Byte], Field(strict=False), BeforeValidator(_of_hexadecimals)]
MaskValue = Annotated[int, Field(ge=-(2**31), lt=2**32)]


def _is_a_range(resize: tuple[float, float]) -> tuple[float, float]:
    if resize[0] > resize[1]:
        raise ValueError(f"{list(resize)} is not a range; give the smaller factor first")
    return resize


ResizeRange = Annotated[tuple[Positive, Positive], Field(strict=False), AfterValidator(_is_a_range)]


class Class(StrictModel):
    """One class: its colour in masks of colours, its values in masks of numbers, or both."""

    name: str
    colour: Colour | None = None
    values: tuple[MaskValue, ...] = Field(default=(), strict=False)

    @field_validator("name")
    @classmethod
    def _can_stand_in_a_list(cls, name: str) -> str:
        if not name or not name.isprintable() or name != name.strip() or "," in name:
            raise ValueError(f"{name!r} is not a name; give printable characters without a comma")
        return name


class Ignored(StrictModel):
    """What masks say of pixels without a class; a raster's nodata value is ignored anyway."""

    name: str = "ignored"
    colours: tuple[Colour, ...] = Field(default=(), strict=False)
    values: tuple[MaskValue, ...] = Field(default=(), strict=False)


class Dataset(ConfigFile):
    """A data set's file. The class at place k of `classes` has label k.

    `images` and `masks` are patterns of file names, in which `*` stands for the scene's id; capitals and
    small letters are the same. `bands` are those of an image file in its order. `resize` is the range of the
    random resize in training. `stretch` holds the values that become 0 and 255 in images of more than 8 bits;
    without it, the 2nd and 98th percentile of each band do, scene by scene.
    In a mask of colours, a pixel belongs to the class whose colour it has, or has but for `tolerance` grey
    levels in each channel, as compression leaves it.
    """

    EXAMPLE: ClassVar[str] = "datasets/deepglobe_land.toml"
    REJECTED_KEYS: ClassVar[dict[str, str]] = {"classes.*.color": "write colour"}

    title: str
    images: tuple[str, ...] = Field(strict=False, min_length=1)
    masks: tuple[str, ...] = Field(strict=False, min_length=1)
    bands: tuple[str, ...] = Field(strict=False, min_length=1)
    resize: ResizeRange
    stretch: tuple[float, float] | None = Field(default=None, strict=False)
    tolerance: Annotated[int, Field(ge=0, le=127)] = 32
    train: Count | None = None  # scenes that split_data.py takes for training by default
    classes: tuple[Class, ...] = Field(strict=False, min_length=2, max_length=254)
    ignore: Ignored = Ignored()

    @field_validator("title")
    @classmethod
    def _title_is_a_line(cls, title: str) -> str:
        if not title.strip() or not title.isprintable():
            raise ValueError(f"{title!r} is not a title; give a line of printable characters")
        return title

    @field_validator("images", "masks")
    @classmethod
    def _patterns_hold_the_id(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if pattern.count("*") != 1 or pattern.startswith("/") or ".." in Path(pattern).parts:
                raise ValueError(
                    f"{pattern!r} is not a pattern; give one *, as '*_sat.jpg' or 'images/*.png'"
                )
        return patterns

    @field_validator("bands")
    @classmethod
    def _bands_have_names(cls, bands: tuple[str, ...]) -> tuple[str, ...]:
        for band in bands:
            if not IDENTIFIER.fullmatch(band):
                raise ValueError(f"{band!r} is not a band's name; give letters and digits, as 'nir'")
        if len(set(bands)) < len(bands):
            raise ValueError(f"{list(bands)} names a band twice; name each once")
        return bands

    @field_validator("stretch")
    @classmethod
    def _stretch_rises(cls, stretch: tuple[float, float] | None) -> tuple[float, float] | None:
        if stretch is not None and stretch[0] >= stretch[1]:
            raise ValueError(f"{list(stretch)} is not a range; give the lower value first")
        return stretch

    @model_validator(mode="after")
    def _files_and_classes_can_be_told_apart(self) -> Self:
        if shared := set(self.images) & set(self.masks):
            raise ValueError(f"the pattern {min(shared)!r} is one of images and of masks; give two patterns")
        names = [entry.name for entry in self.classes]
        if twice := _repeated([*names, self.ignore.name]):
            raise ValueError(f"two classes are named {twice}; give each a name of its own")
        if reserved := set(names) & {"ignored", "no data"}:
            raise ValueError(f"class {min(reserved)} has the name of pixels without a class; give another")
        for entry in self.classes:
            if entry.colour is None and not entry.values:
                raise ValueError(f"class {entry.name} has neither colour nor values; give one or both")
        values = [value for entry in (*self.classes, self.ignore) for value in entry.values]
        if (twice := _repeated(values)) is not None:
            shared = " and ".join(
                dict.fromkeys(e.name for e in (*self.classes, self.ignore) if twice in e.values)
            )
            raise ValueError(f"value {twice} stands twice, for {shared}; give it to one")
        self._check_colours()
        return self

    def _check_colours(self) -> None:
        named = [(entry.name, entry.colour) for entry in self.classes if entry.colour is not None]
        named += [(self.ignore.name, colour) for colour in self.ignore.colours]
        for (name, colour), (other, other_colour) in combinations(named, 2):
            distance = max(abs(a - b) for a, b in zip(colour, other_colour, strict=True))
            if not distance:
                raise ValueError(f"{name} and {other} have one colour, {list(colour)}; give each its own")
            if distance <= 2 * self.tolerance:
                raise ValueError(
                    f"the colours of {name} and {other} are {distance} grey levels apart, and tolerance "
                    f"{self.tolerance} needs more than {2 * self.tolerance}; give a tolerance of at most "
                    f"{(distance - 1) // 2}, or other colours"
                )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of their labels."""
        return tuple(entry.name for entry in self.classes)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the classes and, last, of what is ignored: the entries of a count of labels."""
        return (*self.class_names, "ignored")

    @cached_property
    def palette(self) -> tuple[Colour, ...]:
        """The colour that maps and figures show of each class: its own, or one that no other has."""
        taken = {entry.colour for entry in self.classes} | {self.ignored_colour}
        colours = []
        for label, entry in enumerate(self.classes):
            colour, turn = entry.colour, label
            while colour is None or (entry.colour is None and colour in taken):
                hue = colorsys.hsv_to_rgb(turn * GOLDEN_RATIO % 1, 0.75, (0.95, 0.7)[turn % 2])
                colour = tuple(round(255 * part) for part in hue)
                turn += len(self.classes)
            taken.add(colour)
            colours.append(colour)
        return tuple(colours)

    @property
    def stretch_text(self) -> str:
        """The stretch in words: `of 500 to 1900`, `by percentiles`."""
        return "by percentiles" if self.stretch is None else "of {:g} to {:g}".format(*self.stretch)

    @property
    def ignored_colour(self) -> Colour:
        """The colour that maps and figures show of pixels without a class."""
        return self.ignore.colours[0] if self.ignore.colours else (0, 0, 0)

    @cached_property
    def labels_of_values(self) -> dict[int, int]:
        """The label of each value of masks of numbers; empty where masks are of colours alone."""
        classes = {value: label for label, entry in enumerate(self.classes) for value in entry.values}
        return classes | dict.fromkeys(self.ignore.values, IGNORE)

    def difference(self, other: "Dataset") -> str | None:
        """Say how the classes of `other` differ, "2 classes (a, b), not 3 (a, b, c)"; None if they do not."""
        names, other_names = self.class_names, other.class_names
        if names == other_names:
            return None
        return f"{len(other_names)} classes ({', '.join(other_names)}), not {len(names)} ({', '.join(names)})"


def _repeated(values: list) -> object | None:
    return next((value for at, value in enumerate(values) if value in values[:at]), None)


def dataset_path(named: str, folder: Path = Path()) -> Path:
    """Return the file that `named` means: a path that ends in .toml, from `folder`; or one of datasets/."""
    return folder / named if named.endswith(".toml") else DATASETS / f"{named}.toml"


def read_dataset(named: str | Path, folder: Path = Path()) -> Dataset:
    """Read and check a data set by its path or its name in datasets/; ExperimentError with key and remedy."""
    path = dataset_path(str(named), folder)
    table = read_toml(path, "a data set")
    if "values" in table and isinstance(table["values"], dict):
        _refuse_mapping(path, table)
    return validated(Dataset, table, path.stem, path)


def _refuse_mapping(path: Path, table: dict) -> None:
    values: dict[str, list[str]] = {}
    for value, name in table["values"].items():
        values.setdefault(str(name), []).append(value)
    ignored = values.pop("ignore", [])
    spelling = "; ".join(
        f'{{ name = "{name}", values = [{", ".join(numbers)}] }}' for name, numbers in values.items()
    )
    if ignored:
        spelling += f" and, under [ignore], values = [{', '.join(ignored)}]"
    remedy = f"write the classes of a data set as {spelling} (see datasets/deepglobe_land.toml)"
    raise ExperimentError(path, "is a mapping of version 1.0", remedy)


def legacy_dataset(entry: object, where: object, key: str) -> object:
    """Return the data set that an entry of version 1.0 means: a list of classes, or a name put in its place.

    Anything else is returned as it is. Raises ExperimentError, naming `where` and the list's `key`, where
    not just one file of datasets/ has these classes in this order.
    """
    if isinstance(entry, str):
        return read_dataset(entry)
    if not isinstance(entry, list):
        return entry
    known = (read_dataset(path) for path in sorted(DATASETS.glob("*.toml")))
    matching = [dataset for dataset in known if dataset.class_names == tuple(entry)]
    if len(matching) != 1:
        candidates = " and ".join(dataset.name for dataset in matching) or "no file"
        fact = (
            f"is of version 1.0, and {candidates} of datasets/ has its classes {', '.join(map(str, entry))}"
        )
        remedy = f"write in place of the list {key} the name of the data set, or the path of its .toml file"
        raise ExperimentError(where, fact, remedy)
    return matching[0]


def display_bands(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of `bands` a figure shows: red, green and blue, else the first three, else one."""
    if set(RGB) <= set(bands):
        return RGB
    return bands[:3] if len(bands) >= 3 else bands[:1]
