"""The house rules that a machine can check."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_ruff_finds_nothing():
    for command in (["check", "--quiet"], ["format", "--check", "--quiet"]):  # an image is not writable
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_only_solvers_and_inference_import_caffe():
    for path in python_files("prototxt_gen", "data_prep", "studies", "tools"):
        assert not re.search(r"^\s*(import|from) caffe\b", path.read_text(), re.M), path


def test_arrows_between_the_packages_point_one_way():
    below = {
        "prototxt_gen": ("data_prep", "solvers", "inference", "studies", "tools"),
        "data_prep": ("solvers", "inference", "studies", "tools"),
        "solvers": ("inference", "studies", "tools"),
        "inference": ("studies", "tools"),
        "studies": ("tools",),
    }
    for package, others in below.items():
        for path in python_files(package):
            for other in others:
                assert not re.search(rf"^\s*(import|from) {other}\b", path.read_text(), re.M), (path, other)


def test_templates_hold_syntax_only():
    for path in (ROOT / "templates").iterdir():
        text = path.read_text()
        assert len(text.splitlines()) <= 60, path
        assert not re.search(r"{%.*[-+*/]\s*\d.*%}|{{.*\d\s*[-+*/].*}}", text), path
