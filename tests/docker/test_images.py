"""What the images are made from, and their entry point, without a container engine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
PIN = re.compile(r"^([a-z0-9-]+)==(\S+?)(?: ;.*)? \\$", re.M)


def run(*command: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def wanted() -> dict[str, str]:
    """The pins of docker/requirements.py by name."""
    lines = run(sys.executable, DOCKER / "requirements.py").stdout.split()
    return dict(line.split("==") for line in lines)


def test_the_lock_has_the_pins_of_pyproject():
    locked = dict(PIN.findall((DOCKER / "requirements.lock").read_text()))
    others = {name: pin for name, pin in wanted().items() if locked.get(name) != pin}
    assert not others, "run `make lock`"


@pytest.mark.parametrize("name", ["requirements.lock", "caffe/cuda.txt"])
def test_every_python_package_has_a_checksum(name):
    text = (DOCKER / name).read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.M).strip())
    assert len(blocks) > 5
    for block in blocks:
        assert re.match(r"[a-z0-9.-]+==\S+ ", block), block
        assert "--hash=sha256:" in block, block


def test_both_kinds_end_as_a_user_that_is_not_root_after_a_smoke_test():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)
    kinds = [stage for stage in stages if re.match(r"\S+ AS (cpu|cuda)\n", stage)]
    assert len(kinds) == 2
    for stage in kinds:
        after = stage.split("USER dfcnet\n")[1]
        assert "RUN docker/entrypoint.sh smoke\n" in after
        assert "USER" not in after
        assert "VOLUME" in after


def test_the_base_is_an_argument_with_a_dated_default():
    assert re.search(r"^ARG BASE=\S+:bookworm-\d{8}-slim$", DOCKERFILE, re.M)
    assert all(
        name in ("${BASE}", "builder", "runtime") for name in re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    )


def test_help_lists_every_tool_and_what_it_does():
    done = run(DOCKER / "entrypoint.sh", "--help")
    assert done.returncode == 0
    tools = {
        path.stem.replace("_", "-")
        for path in (ROOT / "tools").glob("*.py")
        if "__main__" in path.read_text()
    }
    listed = dict(re.findall(r"^  ([a-z-]+)  +(\S.*)$", done.stdout, re.M))
    assert {"demo", "test", "gpu-check", "smoke"} | tools == set(listed)
    assert listed["train"].startswith("Train an experiment")


@pytest.mark.parametrize(
    ("name", "words"),
    [("demo", "makes runs/demo"), ("smoke", "a small net"), ("gpu-check", "--quick"), ("test", "-k")],
)
def test_commands_that_are_no_tools_have_help_too(name, words):
    done = run(DOCKER / "entrypoint.sh", name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert words in done.stdout
    if name in ("demo", "smoke"):
        done = run(DOCKER / "entrypoint.sh", name, "--fast")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{name}: takes no options; it ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["dance", "cli", "../docker/smoke", "/bin/sh", "data-options"])
def test_what_is_no_command_is_refused(name):
    done = run(DOCKER / "entrypoint.sh", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"dfcnet: no command {name}; --help lists them\n"


def test_a_command_gets_its_options_and_its_exit_code():
    done = run(DOCKER / "entrypoint.sh", "make-net", "--experiment", "no_such_net")
    assert done.returncode == 2
    assert "no_such_net.toml: cannot be read" in done.stderr
    assert "--images" in run(DOCKER / "entrypoint.sh", "build-lmdb", "--help").stdout


@pytest.mark.caffe
def test_smoke_says_in_a_line_that_caffe_works():
    done = run(sys.executable, DOCKER / "smoke.py")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"caffe 1.0.0 with \d+ kinds of layers, .*: a net answers on the CPU\n", done.stdout)


@pytest.mark.parametrize("archs", ["sm_90", "8.6", "90;rm", " "])
def test_compute_capabilities_that_are_none_are_refused_before_anything_is_fetched(archs, tmp_path):
    done = run(
        DOCKER / "caffe" / "build.sh",
        "--cuda",
        PYTHON=sys.executable,
        CUDA_ARCHS=archs,
        CAFFE_PREFIX=str(tmp_path / "caffe"),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    assert done.returncode == 2
    assert f"CUDA_ARCHS='{archs}': is no list of compute capabilities" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["", "gpu"])
def test_verify_names_its_targets(target):
    done = run(DOCKER / "verify.sh", *filter(None, [target]))
    assert done.returncode == 2
    assert "usage: verify.sh {cpu,cuda}" in done.stderr
