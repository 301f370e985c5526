"""What the images are made from, and their entry point, without a container engine."""

import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.stand_ins import run

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()
# Of what is tracked; docker/finish.sh makes an empty runs/.
NOT_IN_AN_IMAGE = {".ci", ".github", "SECURITY.md", "runs"}


def test_both_kinds_end_as_a_user_that_is_not_root_after_a_smoke_test():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)
    kinds = [stage for stage in stages if re.match(r"\S+ AS (cpu|cuda)\n", stage)]
    assert len(kinds) == 2
    for stage in kinds:
        after = stage.split("USER dfcnet\n")[1]
        assert "RUN docker/entrypoint.sh smoke\n" in after
        assert "USER" not in after
        assert "VOLUME" in after
        assert 'ENTRYPOINT ["tini", "-s", "--", "/opt/dfcnet/docker/entrypoint.sh"]' in after


def test_the_base_is_an_argument_with_a_dated_default():
    assert re.search(r"^ARG BASE=\S+:trixie-\d{8}-slim$", DOCKERFILE, re.M)
    assert all(
        name in ("${BASE}", "builder", "runtime") for name in re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    )


def test_help_lists_every_tool_and_what_it_does():
    done = run(DOCKER / "entrypoint.sh", "--help")
    assert done.returncode == 0
    tools = {
        path.stem.replace("_", "-")
        for path in (ROOT / "tools").glob("*.py")
        if "__main__" in path.read_text() and path.stem != "dfcnet"
    }
    listed = dict(re.findall(r"^  ([a-z][a-z-]+)  +(\S.*)$", done.stdout, re.M))
    assert {"demo", "test", "smoke"} | tools == set(listed)
    assert listed["train"].startswith("Train an experiment")


@pytest.mark.parametrize(
    ("name", "words"),
    [("demo", "makes runs/demo"), ("smoke", "a small net"), ("test", "-k")],
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
    assert "no_such_net/experiment.toml: cannot be read" in done.stderr
    assert "--images" in run(DOCKER / "entrypoint.sh", "build-lmdb", "--help").stdout


@pytest.mark.caffe
def test_smoke_says_in_a_line_that_caffe_works():
    done = run(sys.executable, DOCKER / "smoke.py")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"caffe 1.0.0 with \d+ kinds of layers, .*: a net answers on the CPU\n", done.stdout)


@pytest.mark.parametrize("archs", ["sm_90", "8.6", "90;rm", " "])
def test_compute_capabilities_that_are_none_are_refused_before_anything_is_fetched(archs, tmp_path):
    done = run(
        ROOT / "native" / "build.sh",
        "--cuda",
        PYTHON=sys.executable,
        CUDA_ARCHS=archs,
        CAFFE_PREFIX=str(tmp_path / "caffe"),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    assert done.returncode == 2
    assert f"CUDA_ARCHS='{archs}': is not a list of compute capabilities" in done.stderr
    assert list(tmp_path.iterdir()) == []


def is_ignored(path: str) -> bool:
    """Return whether .dockerignore keeps a path out: the last pattern for it or a folder above decides."""
    parts = Path(path).parts
    above = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    ignored = False
    for line in filter(None, IGNORED):
        pattern = line.removeprefix("!").removeprefix("**/")
        names = parts if "**/" in line else [parts[0]] if pattern == "*" else above
        if not line.startswith("#") and any(fnmatchcase(name, pattern) for name in names):
            ignored = not line.startswith("!")
    return ignored


def git(*words: str) -> subprocess.CompletedProcess:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git")
    return run("git", "-C", ROOT, *words)


@pytest.mark.parametrize("folder", ["scenes", "data", "nets", "maps", "experiments", "runs"])
def test_what_a_user_puts_into_the_checkout_reaches_no_image_and_no_commit(folder):
    for path in (f"{folder}/x_sat.jpg", f"{folder}/land/train/x_sat.jpg"):
        assert is_ignored(path)
        assert git("check-ignore", "--quiet", "--no-index", path).returncode == 0, path


@pytest.mark.parametrize(
    "path",
    [".git/config", ".venv/bin/python", "x.caffemodel", "tools/__pycache__/cli.pyc", "docs/x.caffemodel"],
)
def test_history_environments_caches_and_weights_reach_no_image(path):
    assert is_ignored(path)


def test_what_is_tracked_reaches_the_image():
    """The commands and the tests run there."""
    tracked = git("ls-files").stdout.split()
    assert len(tracked) > 100
    out = {path for path in tracked if is_ignored(path)}
    assert {path.split("/")[0] for path in out} == NOT_IN_AN_IMAGE
    assert out == {path for path in tracked if path.split("/")[0] in NOT_IN_AN_IMAGE}


def test_what_the_dockerfile_copies_reaches_the_builder():
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
        for source in line.split()
    ]
    assert "native" in sources
    for source in sources:
        assert source == "." or ((ROOT / source).exists() and not is_ignored(source)), source


def test_compose_mounts_in_the_long_form_and_names_all_folders_that_it_needs():
    """Docker makes a missing one for root, where the image's user cannot write; not so in this long form."""
    text = (ROOT / "compose.yaml").read_text()
    assert text.split("&folder\n")[1].split("\n\n")[0] == "  type: bind"
    volumes = re.findall(r"^      - (.*)$", "".join(re.findall(r"volumes:\n((?:      .*\n)+)", text)), re.M)
    mounts = [
        re.fullmatch(r"\{<<: \*folder, source: \./(\w+), target: (\S+?)(, .*)?\}", line) for line in volumes
    ]
    assert len(mounts) == text.count("/opt/dfcnet/") - text.count("/opt/dfcnet/docker/")
    assert all(mount and mount[2] == f"/opt/dfcnet/{mount[1]}" for mount in mounts), volumes
    made = re.search(r"^#   mkdir -p (.*)$", text, re.M)[1].split()
    assert sorted({mount[1] for mount in mounts}) == made
    assert f"\nmkdir -p {' '.join(made)}\n" in (ROOT / "docs" / "docker.md").read_text()
