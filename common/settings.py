"""TOML files with strict tables: an unknown key, a wrong type or a missing key is an error in one line."""

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from common.errors import ExperimentError
from common.numbers import FLOAT_MAX, FLOAT_MIN, INT_MAX

ROOT = Path(__file__).resolve().parent.parent
# With a key of each; a search is a study with trials, and comes before it.
KINDS = {
    "a data set": "classes",
    "a search": "trials",
    "a study": "seeds",
    "an experiment": "solver",
    "a description of weights": "licence",
}
MAX_SHOWN = 60  # characters of a wrong value
# What to do for pydantic's findings, with what their contexts hold.
REMEDIES = {
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "string_type": 'give a text in quotes, as "dfcnet"',
    "bool_type": "give true or false",
    "tuple_type": "give a list, as [ ... ]",
    "dict_type": "give a table",
    "model_type": "give a table",
    "literal_error": "give {expected}",
    "greater_than": "give more than {gt:g}",
    "greater_than_equal": "give {ge:g} or more",
    "less_than": "give less than {lt:g}",
    "less_than_equal": "give {le:g} or less",
    "string_pattern_mismatch": "give a text of the form {pattern}",
}


def _in_floats(value: float) -> float:
    """Refuse what is 0 or infinite in Caffe's 32 bits, and is neither here."""
    if value and not FLOAT_MIN <= abs(value) <= FLOAT_MAX:
        raise ValueError(f"{value:g} is outside of Caffe's numbers; give {FLOAT_MIN:g} to {FLOAT_MAX:g}")
    return value


Seed = Annotated[int, Field(ge=0, le=INT_MAX)]
Count = Annotated[int, Field(ge=1, le=INT_MAX)]
Float32 = Annotated[float, AfterValidator(_in_floats)]
Positive = Annotated[Float32, Field(gt=0)]
NotNegative = Annotated[Float32, Field(ge=0)]
Fraction = Annotated[Float32, Field(ge=0, lt=1)]
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
    """Return the tables of a TOML file of a `kind`, of KINDS; ExperimentError where it cannot be read."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        remedy = f"name {kind} ({', '.join(_files_of_kind(path, kind)) or 'none there'}), or a path in .toml"
        if (meant := Path(f"{_name_of(path)}.toml")).is_file() and meant.absolute() != path.absolute():
            remedy = f"did you mean {meant}? A path ends in .toml"
        raise ExperimentError(path, f"cannot be read ({error.strerror})", remedy) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ExperimentError(path, f"is not TOML ({error})", "fix the file") from error
    difference = _kind(table)
    if difference not in (kind, None):
        raise ExperimentError(path, f"is {difference}", f"name {kind}")
    return table


def _name_of(path: Path) -> str:
    """Return the name that a file of solvers/, datasets/ or studies/ goes by."""
    return path.parent.name if path.stem == "experiment" else path.stem


def _kind(table: dict) -> str | None:
    """Return which of KINDS a file's table is, by the first key of them that it has."""
    return next((kind for kind, key in KINDS.items() if key in table), None)


def _files_of_kind(path: Path, kind: str) -> list[str]:
    """Return the files of a kind as commands name them: of the folder, or alike in folders beside it."""
    names = []
    for file in (*path.parent.glob("*.toml"), *path.parent.parent.glob(f"*/{path.name}")):
        with suppress(OSError, ValueError):
            if _kind(tomllib.loads(file.read_text(encoding="utf-8-sig"))) == kind:
                name = file.parent.name if file.parent != path.parent else file.stem
                names.append(name if ROOT in file.resolve().parents else str(file))
    return sorted(names)


def validated(kind: type[T], table: dict, name: str, where: object, folder: Path = Path()) -> T:
    """Return a file's table, named `name`, as the model `kind`; ExperimentError with key and remedy.

    Files that the table names are looked for from `folder`.
    """
    if "name" in table:
        raise ExperimentError(where, "gives the key name", "leave it out: the file's name is the name")
    try:
        return kind.model_validate({"name": name, **table}, context={"folder": folder})
    except ValidationError as error:
        raise ExperimentError(where, *explain_error(error, kind, table)) from error


def explain_error(
    error: ValidationError, kind: type[ConfigFile] | None = None, table: dict | None = None
) -> tuple[str, str]:
    """Return what is wrong and what to do for one finding: a misspelt key is unknown before it is missing.

    Entries of lists go by their names where `table`, what was checked, has them.

    The checks of this project raise ValueError with both, as "crop 64 is not 32k+1; take 33 or 65".
    """
    first = min(error.errors(), key=lambda finding: finding["type"] != "extra_forbidden")
    location = _location([part for part in first["loc"] if part != "[key]"], table)
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        for known in (key, ".".join(["*", *location[1:]]), ".".join([*location[:1], "*", *location[2:]])):
            if kind and known in kind.REJECTED_KEYS:
                reason = kind.REJECTED_KEYS[known]
                remedy = reason if reason.startswith("write ") else f"leave it out: {reason}"
                return f"{key} is not to be given", remedy
        return f"unknown key {key}", "remove it, or correct its spelling"
    if first["type"] == "missing":
        return f"key {key} is missing", f"add it; {kind.EXAMPLE} shows all keys" if kind else "add it"
    if first["type"] == "value_error":
        fact, _, remedy = str(first["ctx"]["error"]).rpartition("; ")
        return f"{key + ': ' if key else ''}{fact}", remedy
    if first["type"] in ("too_short", "too_long"):
        limits = first["ctx"]
        minimum, maximum = limits.get("min_length"), limits.get("max_length")
        remedy = f"give {minimum} or more" if minimum else f"give at most {maximum}"
        return f"{key} has {limits['actual_length']} entries", remedy
    remedy = REMEDIES.get(first["type"], "give another value")
    shown = repr(first["input"])
    value = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]} ..."
    return f"{key or 'the file'} = {value}", remedy.format(**first.get("ctx", {}))


def _location(parts: list[str | int], table: object) -> list[str]:
    """Return the keys on the way to a finding, the place in a list as the name of what stands there."""
    words = []
    for part in parts:
        known = isinstance(table, dict) and part in table
        table = table[part] if known or (isinstance(table, list) and isinstance(part, int)) else None
        named = isinstance(part, int) and isinstance(table, dict) and isinstance(table.get("name"), str)
        words.append(table["name"] if named else str(part))
    return words


def first_difference(before: object, now: object, key: str = "") -> tuple[str, object, object] | None:
    """Return (key, before, now) of the first setting that differs, or None.

    Tables stand within tables, and a key is `table.key`; None is the value of a setting that is not there. A
    list of named tables is a table by their names, whose order, `table.order`, is a setting too: that of
    classes gives their labels.
    """
    (before, order), (now, now_order) = _by_name(before), _by_name(now)
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return None if before == now else (key, before, now)
    for name in (*now, *(name for name in before if name not in now)):
        inner = f"{key}.{name}" if key else name
        if difference := first_difference(before.get(name), now.get(name), inner):
            return difference
    return (f"{key}.order", order, now_order) if order and now_order and order != now_order else None


def difference_text(difference: tuple[str, object, object]) -> str:
    """Say what `first_difference` has found: `crop = 65, now it is 97`."""
    key, before, now = difference
    was = f"no {key}" if before is None else f"{key} = {_text(before)}"
    return f"{was}, now it {'has none' if now is None else f'is {_text(now)}'}"


def _by_name(value: object) -> tuple[object, list[str]]:
    """Return a list of named tables as one table, and the names in their order; anything else as it is."""
    if isinstance(value, list | tuple) and value and all(isinstance(v, dict) and "name" in v for v in value):
        return {entry["name"]: entry for entry in value}, [entry["name"] for entry in value]
    return value, []


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    text = str(value)
    return text.removesuffix(".0") if isinstance(value, float) else text
