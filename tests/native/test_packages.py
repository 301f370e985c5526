"""native/packages.sh: lists of Debian packages, on stand-ins of dpkg and apt."""

from pathlib import Path

import pytest

from tests.stand_ins import run, stand_in

NATIVE = Path(__file__).parents[2] / "native"

# `bash` is installed; the release has `new-name`, not `old-name`.
SYSTEM = {
    "dpkg_query": 'if [ "${!#}" = bash ]; then echo -n installed; else exit 1; fi',
    "apt_cache": '[ "$2" = new-name ] || [ "$2" = libfoo-dev ]',
    "apt_get": 'echo "$@" >>"$0.calls"; [ -z "$STAND_IN_ERROR" ] || { echo "$STAND_IN_ERROR"; exit 100; }',
    "id": "echo ${STAND_IN_ID:-0}",
}


@pytest.fixture
def install(tmp_path):
    """Return a function that calls packages.sh with a list of these lines."""
    commands = tmp_path / "bin"
    stand_in(commands, **SYSTEM)

    def call(*lines: str, **environment: str):
        listed = tmp_path / "list.txt"
        listed.write_text("".join(f"{line}\n" for line in lines))
        done = run(NATIVE / "packages.sh", listed, path=commands, **environment)
        calls = commands / "apt-get.calls"
        done.calls = calls.read_text().splitlines() if calls.exists() else []
        return done

    return call


def test_nothing_is_done_or_said_where_all_are_there(install):
    done = install("# a list", "", "bash  # the shell", "no-such-name | bash")
    assert (done.returncode, done.stdout, done.stderr, done.calls) == (0, "", "", [])


def test_of_several_names_the_one_is_installed_that_the_release_has(install):
    done = install("bash", "old-name | new-name  # why", "libfoo-dev")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "packages: installing new-name libfoo-dev\n"
    assert done.calls[0].endswith("update")
    assert done.calls[1].endswith("install --no-install-recommends new-name libfoo-dev")


def test_what_apt_says_is_said_in_a_line(install):
    error = "Err:1 mirror\nE: Unable to locate package libfoo-dev\nE: See the log"
    done = install("libfoo-dev", STAND_IN_ERROR=error)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(
        "packages: apt-get: See the log; nor could it update its lists (its whole output: "
    )


def test_without_root_and_sudo_the_packages_are_named(install, tmp_path):
    for name in ("bash", "env", "cat"):  # no sudo among the commands
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    done = install("bash", "libfoo-dev", STAND_IN_ID="1000", PATH=str(tmp_path / "bin"))
    assert (done.returncode, done.stdout, done.calls) == (2, "", [])
    assert done.stderr == (
        "packages: not root, and no sudo to install: libfoo-dev; ask your administrator for them\n"
    )


def test_a_list_that_is_not_there_is_an_error():
    done = run(NATIVE / "packages.sh", "none.txt")
    assert done.returncode == 2
    assert done.stderr == "packages: none.txt: cannot be read; give a list of packages\n"


def test_a_system_without_dpkg_is_refused(tmp_path):
    (tmp_path / "bash").symlink_to("/usr/bin/bash")
    (tmp_path / "env").symlink_to("/usr/bin/env")
    done = run(NATIVE / "packages.sh", NATIVE / "packages" / "caffe.txt", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "packages: no dpkg here: Debian, Ubuntu or a system derived from them is needed\n"
