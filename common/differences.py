"""Where two tables of settings differ."""


def first_difference(before: object, now: object, key: str = "") -> tuple[str, object, object] | None:
    """Return (key, before, now) of the first setting that differs, or None.

    Tables stand within tables, and a key is `table.key`; None is the value of a setting that is not there. A
    list of named tables is a table by their names.
    """
    before, now = _by_name(before), _by_name(now)
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return None if before == now else (key, before, now)
    for name in (*now, *(name for name in before if name not in now)):
        inner = f"{key}.{name}" if key else name
        if found := first_difference(before.get(name), now.get(name), inner):
            return found
    return None


def difference_text(found: tuple[str, object, object]) -> str:
    """Say what `first_difference` has found: `crop = 65, now it is 97`."""
    key, before, now = found
    was = f"no {key}" if before is None else f"{key} = {_text(before)}"
    return f"{was}, now it {'has none' if now is None else f'is {_text(now)}'}"


def _by_name(value: object) -> object:
    if isinstance(value, list | tuple) and value and all(isinstance(v, dict) and "name" in v for v in value):
        return {entry["name"]: entry for entry in value}
    return value


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return str(value).removesuffix(".0")
