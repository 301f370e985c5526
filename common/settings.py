"""TOML files with strict tables: an unknown key, a wrong type or a missing key is an error in one line."""

import tomllib
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from common.errors import ExperimentError
from common.numbers import FLOAT_MAX, FLOAT_MIN, INT_MAX


def _in_floats(value: float) -> float:
    """Refuse what is 0 or infinite in Caffe's 32 bits, and is neither here."""
    if value and not FLOAT_MIN <= abs(value) <= FLOAT_MAX:
        raise ValueError(f"{value:g} is outside of Caffe's numbers; give {FLOAT_MIN:g} to {FLOAT_MAX:g}")
    return value


Seed = Annotated[int, Field(ge=0, le=INT_MAX)]
Count = Annotated[int, Field(ge=1, le=INT_MAX)]
Number = Annotated[float, AfterValidator(_in_floats)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]  # of the past in a moving mean, as momentum
T = TypeVar("T", bound="ConfigFile")


class StrictModel(BaseModel):
    """A table of a file: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ConfigFile(StrictModel):
    """A file's whole content, under its name.

    EXAMPLE is a file that has all keys; REJECTED_KEYS maps keys that users expect, as "table.key", to the
    reason why they are not given. A `*` in place of a table stands for any.
    """

    EXAMPLE: ClassVar[str]
    REJECTED_KEYS: ClassVar[dict[str, str]] = {}
    name: str


def read_toml(path: Path, kind: str) -> dict:
    """Return the tables of a TOML file; ExperimentError where it cannot be read. `kind` is "a study file"."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        remedy = f"name {kind} ({', '.join(_beside(path)) or 'none there'})"
        raise ExperimentError(path, f"cannot be read ({error.strerror})", remedy) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(path, f"is not TOML ({error})", "fix the file") from error


def _beside(path: Path) -> list[str]:
    """Return the files of the same kind by name: those of the folder, or those alike in folders beside it."""
    folders = path.parent.parent.glob(f"*/{path.name}")
    return sorted(file.stem for file in path.parent.glob("*.toml")) or sorted(
        file.parent.name for file in folders
    )


def validated(kind: type[T], table: dict, name: str, where: object, folder: Path = Path()) -> T:
    """Return a file's table, named `name`, as the model `kind`; ExperimentError with key and remedy.

    Files that the table names are looked for from `folder`.
    """
    if "name" in table:
        raise ExperimentError(where, "gives the key name", "leave it out: the file's name is the name")
    try:
        return kind.model_validate({"name": name, **table}, context={"folder": folder})
    except ValidationError as error:
        raise ExperimentError(where, *explain_error(error, kind)) from error


def explain_error(error: ValidationError, kind: type[ConfigFile]) -> tuple[str, str]:
    """Return what is wrong and what to do for one finding: a misspelt key is unknown before it is missing."""
    first = min(error.errors(), key=lambda finding: finding["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"] if part != "[key]"]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        for known in (key, ".".join(["*", *location[1:]]), ".".join([*location[:1], "*", *location[2:]])):
            if known in kind.REJECTED_KEYS:
                return f"{key} is not to be given", f"leave it out: {kind.REJECTED_KEYS[known]}"
        return f"unknown key {key}", "remove it, or correct its spelling"
    if first["type"] == "missing":
        return f"key {key} is missing", f"add it; {kind.EXAMPLE} shows all keys"
    if first["type"] == "value_error":
        return f"{key + ': ' if key else ''}{first['ctx']['error']}", "correct the setting"
    if first["type"] in ("too_short", "too_long"):
        limits = first["ctx"]
        least, most = limits.get("min_length"), limits.get("max_length")
        remedy = f"give {least} or more" if least else f"give at most {most}"
        return f"{key} has {limits['actual_length']} entries", remedy
    return f"{key} = {first['input']!r}", first["msg"][0].lower() + first["msg"][1:]


def first_difference(before: object, now: object, key: str = "") -> tuple[str, object, object] | None:
    """Return (key, before, now) of the first setting that differs, or None.

    Tables stand within tables, and a key is `table.key`; None is the value of a setting that is not there.
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return None if before == now else (key, before, now)
    for name in (*now, *(name for name in before if name not in now)):
        inner = f"{key}.{name}" if key else name
        if difference := first_difference(before.get(name), now.get(name), inner):
            return difference
    return None
