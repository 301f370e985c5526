"""Where two tables of settings differ."""


def first_difference(before: object, now: object, key: str = "") -> tuple[str, object, object] | None:
    """Return (key, before, now) of the first setting that differs, or None.

    Tables stand within tables, and a key is `table.key`; None is the value of a setting that is not there.
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return None if before == now else (key, before, now)
    for name in (*now, *(name for name in before if name not in now)):
        inner = f"{key}.{name}" if key else name
        if found := first_difference(before.get(name), now.get(name), inner):
            return found
    return None
