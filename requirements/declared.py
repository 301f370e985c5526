"""Print the packages that pyproject.toml pins for the virtual environment, as pip's -r takes them.

With names of extras: the packages of those alone.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(
    (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
)
extras = project["project"]["optional-dependencies"]
packages = [package for name in sys.argv[1:] or ["onnx"] for package in extras[name]]
if not sys.argv[1:]:
    packages += project["project"]["dependencies"] + project["dependency-groups"]["dev"]
print(*packages, sep="\n")
