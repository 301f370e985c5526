"""Print the pinned Python packages of pyproject.toml, as pip's -r takes them."""

import tomllib
from pathlib import Path

project = tomllib.loads(
    (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
)
print(*project["project"]["dependencies"], *project["dependency-groups"]["dev"], sep="\n")
