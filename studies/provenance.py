"""What a study's folder was begun with: settings and scenes, so that a later call cannot mix two studies."""

import json
from pathlib import Path

from common.differences import difference_text, first_difference
from common.errors import ExperimentError
from common.files import write_text

BEGUN = "study.json"
REMEDY = "give another --out, or remove the folder"


def remember(out: Path, settings: dict) -> None:
    """Note the settings in the folder `out`; ExperimentError where it was begun with others.

    `settings` is a table of tables; arms may be added, all else must be as it was.
    """
    path, arms = out / BEGUN, settings["arms"]
    if path.exists():
        before = _read(path)
        arms = before["arms"] | arms
        known = {arm: before["arms"].get(arm, table) for arm, table in settings["arms"].items()}
        found = first_difference({**before, "arms": known}, settings)
        if found:
            raise ExperimentError(out, f"was begun with {difference_text(found)}", REMEDY)
    write_text(path, json.dumps({**settings, "arms": arms}, indent=1) + "\n")


def _read(path: Path) -> dict:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        before["arms"].keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExperimentError(path, f"cannot be read ({error})", REMEDY) from error
    return before
