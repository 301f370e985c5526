"""What a study was started with, settings and scenes, so that a later call cannot mix two studies."""

import json
from pathlib import Path

from common.errors import ExperimentError, reason
from common.files import write_text
from common.settings import difference_text, first_difference

BEGUN = "study.json"
REMEDY = "give another --out, or remove the folder"


def remember(out: Path, settings: dict) -> None:
    """Note the settings in the folder `out`; ExperimentError where it was started with others.

    `settings` is a table of tables; arms may be added, all else must be as it was.
    """
    path, arms = out / BEGUN, settings["arms"]
    if path.exists():
        before = _read(path)
        arms = before["arms"] | arms
        known = {arm: before["arms"].get(arm, table) for arm, table in settings["arms"].items()}
        difference = first_difference({**before, "arms": known}, settings)
        if difference:
            raise ExperimentError(out, f"was started with {difference_text(difference)}", REMEDY)
    write_text(path, json.dumps({**settings, "arms": arms}, indent=1) + "\n")


def _read(path: Path) -> dict:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        before["arms"].keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExperimentError(path, f"cannot be read ({reason(error)})", REMEDY) from error
    return before
