"""The bill of materials of an image, for the machine that the tests run on."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docker" / "sbom.py"


@pytest.fixture(scope="module")
def bill() -> dict:
    return json.loads(subprocess.run([sys.executable, SCRIPT], check=True, capture_output=True).stdout)


def test_it_is_cyclonedx_and_names_each_component_once(bill):
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["type"] == "container"
    refs = [each["bom-ref"] for each in bill["components"]]
    assert refs == sorted(set(refs))
    assert all(
        re.fullmatch(r"pkg:(deb/\w+|pypi|github/BVLC)/[\w.%-]+@[\w.%~-]+(\?arch=\w+&distro=[\w.-]+)?", ref)
        for ref in refs
    )


def test_every_debian_package_is_in_it_with_its_version(bill):
    names = {each["name"] for each in bill["components"] if each["purl"].startswith("pkg:deb/")}
    status = Path("/var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n")
    installed = [entry for entry in status if "\nStatus: install ok installed\n" in entry]
    assert names == {re.match(r"Package: (\S+)", entry)[1] for entry in installed}
    bash = next(entry for entry in installed if entry.startswith("Package: bash\n"))
    (component,) = (each for each in bill["components"] if each["name"] == "bash")
    assert component["version"] == re.search(r"^Version: (\S+)$", bash, re.M)[1]


def test_every_python_package_and_caffe_are_in_it(bill):
    found = {each["name"]: each["version"] for each in bill["components"]}
    for folder in Path(sys.prefix).glob("lib/python*/site-packages/*.dist-info"):
        name, number = folder.name.removesuffix(".dist-info").rsplit("-", 1)
        assert found[re.sub(r"[-_.]+", "-", name).lower()] == number
    assert found["numpy"] == version("numpy")
    assert found["caffe"] == "1.0.0+git.99bd997"


def test_an_image_with_cuda_names_its_wheels_and_their_checksums(tmp_path):
    for name in (
        "docker/sbom.py",
        "native/build.sh",
        "native/cuda.txt",
        "native/onednn.txt",
        "pyproject.toml",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(SCRIPT.parents[1] / name, tmp_path / name)
    (tmp_path / "cuda").mkdir()
    output = subprocess.run([sys.executable, tmp_path / "docker/sbom.py"], check=True, capture_output=True)
    made = {each["name"]: each for each in json.loads(output.stdout)["components"]}
    pins = (tmp_path / "native/cuda.txt").read_text()
    assert pins.count("==") == sum("hashes" in each for each in made.values()) > 5
    assert made["nvidia-cuda-nvcc"]["hashes"][0]["content"] in pins
    assert "onednn-cpu-gomp" not in made
