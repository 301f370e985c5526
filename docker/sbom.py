"""What is in an image, as a CycloneDX bill of materials: packages of Debian and Python, Caffe, oneDNN, CUDA.

python docker/sbom.py >sbom.json

It lists what is installed where it runs, by the package managers' own records, and states no time: two builds
of one image give the same bytes.
"""

import json
import platform
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
FIELDS = ("db:Status-Status", "Package", "Version", "Architecture", "source:Package", "source:Version")


def debian_packages() -> list[dict]:
    """Return a component for each package that dpkg has installed."""
    system = platform.freedesktop_os_release()
    suite = f"{system['ID']}-{system.get('VERSION_ID', system.get('VERSION_CODENAME'))}"
    row = "\t".join(f"${{{field}}}" for field in FIELDS) + "\n"
    listed = subprocess.run(["dpkg-query", "-W", "-f", row], check=True, capture_output=True, text=True)
    components = []
    for line in listed.stdout.splitlines():
        status, name, version, architecture, source, source_version = line.split("\t")
        if status == "installed":
            purl = f"pkg:deb/{system['ID']}/{quote(name)}@{quote(version)}?arch={architecture}&distro={suite}"
            properties = [{"name": "debian:source", "value": f"{source} {source_version}"}]
            components.append(component(name, version, purl) | {"properties": properties})
    return components


def python_packages() -> list[dict]:
    """Return a component for each distribution that this Python finds."""
    found = {re.sub(r"[-_.]+", "-", each.name).lower(): each.version for each in distributions()}
    return [component(name, version, f"pkg:pypi/{name}@{version}") for name, version in found.items()]


def pinned_wheels(pins: Path) -> list[dict]:
    """Return a component for each wheel of a list; of these the libraries are installed."""
    text = pins.read_text(encoding="utf-8")
    rows = re.findall(r"^([\w.-]+)==(\S+) \\\n +--hash=sha256:(\w{64})$", text, re.M)
    return [
        component(name, version, f"pkg:pypi/{name}@{version}")
        | {"hashes": [{"alg": "SHA-256", "content": checksum}]}
        for name, version, checksum in rows
    ]


def caffe() -> list[dict]:
    """Return the component of BVLC Caffe's commit, from the recipe."""
    recipe = (ROOT / "native" / "build.sh").read_text(encoding="utf-8")
    commit = re.search(r"^commit=(\w{40})$", recipe, re.M)[1]
    return [component("caffe", f"1.0.0+git.{commit[:7]}", f"pkg:github/BVLC/caffe@{commit}")]


def component(name: str, version: str, purl: str) -> dict:
    """Return a library as CycloneDX has it; its package URL tells it from all others."""
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def bill() -> dict:
    """Return the bill of what is installed here."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.M)[1]
    components = debian_packages() + python_packages() + caffe()
    if any((ROOT / "caffe").rglob("libdnnl.so*")):
        components += pinned_wheels(ROOT / "native" / "onednn.txt")
    image = "dfcnet:cpu"
    if (ROOT / "cuda").is_dir():
        image = "dfcnet:cuda"
        components += pinned_wheels(ROOT / "native" / "cuda.txt")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": image, "name": image, "version": version}},
        "components": sorted(components, key=lambda each: each["bom-ref"]),
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
    print()
