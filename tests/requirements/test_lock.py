"""The locks: pyproject.toml's packages and theirs, by checksum, for every Python that is supported."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def blocks(name: str) -> list[str]:
    """The packages of a lock with their checksums."""
    text = re.sub(r"^#.*\n", "", (FOLDER / name).read_text(), flags=re.M)
    return re.split(r"\n(?=[a-z0-9])", text.strip())


def locked(name: str, python: str) -> dict[str, str]:
    """The pins of a lock, by package, that a Python on Linux installs."""
    system = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    system |= {"os_name": "posix", "implementation_name": "cpython"}
    pins = {}
    for block in blocks(name):
        requirement = Requirement(block.split(" \\\n")[0])
        if requirement.marker is None or requirement.marker.evaluate(system):
            assert requirement.name not in pins
            pins[requirement.name] = str(requirement.specifier)
    return pins


def declared(*extras: str) -> dict[str, str]:
    command = [sys.executable, FOLDER / "declared.py", *extras]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {(pin := Requirement(line)).name: str(pin.specifier) for line in lines}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_locks_have_the_pins_of_pyproject_for_every_python(python):
    for name, extras in (("locked.txt", ()), ("openvino.txt", ("openvino",))):
        pins = locked(name, python)
        assert declared(*extras).items() <= pins.items(), "run `make lock`"


@pytest.mark.parametrize("python", PYTHONS)
def test_what_two_locks_have_in_common_is_the_same(python):
    first, second = locked("locked.txt", python), locked("openvino.txt", python)
    common = first.keys() & second.keys()
    assert "numpy" in common
    assert all(first[name] == second[name] for name in common)


@pytest.mark.parametrize(
    "path", ["requirements/locked.txt", "requirements/openvino.txt", "native/cuda.txt", "native/onednn.txt"]
)
def test_every_python_package_has_a_checksum(path):
    packages = blocks(ROOT / path)
    assert len(packages) > 1
    for package in packages:
        assert re.match(r"[a-z0-9.-]+==\S+ ", package), package
        assert "--hash=sha256:" in package, package
