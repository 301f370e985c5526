"""Print the pinned Python packages of pyproject.toml, as pip's -r takes them; --run leaves the tests' out."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(
    (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
)
packages = project["project"]["dependencies"]
if "--run" not in sys.argv:
    packages = packages + project["dependency-groups"]["dev"]
print("\n".join(packages))
