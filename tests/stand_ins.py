"""Commands that stand in for a system's own, for tests of shell scripts."""

import os
import subprocess
from pathlib import Path


def stand_in(folder: Path, **commands: str) -> None:
    """Write a shell script for each command into `folder`; `_` in a name stands for `-`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in commands.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)


def run(*command: object, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run a command, with the stand-ins of the folder `path` before the system's commands."""
    found = {"PATH": f"{path}:{os.environ['PATH']}"} if path else {}
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env={**os.environ, **found, **environment},
        check=False,
    )
