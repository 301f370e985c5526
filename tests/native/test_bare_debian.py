"""native/verify.sh and docker/verify.sh on stand-ins of debootstrap, unshare and buildah."""

import re
import shutil
from pathlib import Path

import pytest

from tests.stand_ins import run, stand_in

ROOT = Path(__file__).parents[2]
NATIVE = ("native/verify.sh", "trixie")
DOCKER = ("docker/verify.sh", "cpu", "trixie")

# Makes a Debian where its file .works is there, else a part of one.
DEBOOTSTRAP = """
echo >>"$0.calls"
mkdir -p "$3/etc/apt" "$3/etc/dpkg/dpkg.cfg.d" "$3/etc/apt/apt.conf.d" "$3/etc/sudoers.d"
echo "deb http://mirror/debian trixie main" >"$3/etc/apt/sources.list"
[ -e "$0.works" ]
"""
# Writes down what it would do in the bare Debian. `make test` fails on request.
UNSHARE = """
while [[ $1 != bash ]]; do shift; done
shift 3
echo "$@" >>"$0.calls"
[[ "$*" != *"make -C"*" test" ]] || { echo "= 5 passed in 2s ="; [[ -z $STAND_IN_FAILS ]]; }
"""


@pytest.fixture
def verify(tmp_path):
    """Return a function that calls a script in a small checkout, all of it for stand-ins."""
    checkout, commands = tmp_path / "checkout", tmp_path / "bin"
    for script in ("native/verify.sh", "native/bare_debian.sh", "docker/verify.sh", "docker/Dockerfile"):
        (checkout / script).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / script, checkout / script)
    stand_in(checkout / "native", **{"packages.sh": ""})
    stand_in(
        commands,
        id="echo 0",
        debootstrap=DEBOOTSTRAP,
        unshare=UNSHARE,
        buildah="exit 1",
        git='mkdir -p "${!#}"',
        apt_config="echo valid=false",
    )

    def call(script: str, *options: object, **environment: str):
        folder = ("--folder", tmp_path / "work") if script.startswith("native") else (tmp_path / "work",)
        environment = {"PIP_CERT": "", "CAFFE_SOURCE": "", "CAFFE_DNNL": "", **environment}
        return run(checkout / script, *options, *folder, path=commands, **environment)

    call.work, call.commands = tmp_path / "work", commands
    return call


@pytest.mark.parametrize("script", [NATIVE, DOCKER])
def test_a_base_that_debootstrap_has_made_in_part_is_not_kept(verify, script):
    done = verify(*script)
    assert done.returncode == 1
    assert re.search(r"^verify: failed at: base of trixie \(log:", done.stderr, re.M)
    assert not (verify.work / "base-trixie").exists()
    (verify.commands / "debootstrap.works").touch()
    for _ in range(2):
        assert "failed at: base of" not in verify(*script).stderr
    assert (verify.commands / "debootstrap.calls").read_text().count("\n") == 2
    apt = verify.work / "base-trixie" / "etc" / "apt"
    assert [line.split()[2] for line in (apt / "sources.list").read_text().splitlines()] == [
        "trixie",
        "trixie-updates",
    ]
    assert (apt / "apt.conf.d" / "valid-until").read_text() == 'Acquire::Check-Valid-Until "false";\n'


@pytest.mark.parametrize(
    ("options", "user", "home"), [((), "root", "/root"), (("--user",), "dfcnet", "/home/dfcnet")]
)
def test_the_readmes_commands_run_in_a_clone_in_a_bare_debian(verify, options, user, home):
    (verify.commands / "debootstrap.works").touch()
    done = verify(*NATIVE, *options)
    assert (done.returncode, done.stderr) == (0, "")
    calls = (verify.commands / "unshare.calls").read_text().splitlines()
    bare = verify.work / f"trixie-{user}"
    assert all(call.startswith(f"{bare} ") for call in calls)
    made = [call for call in calls if " make " in call]
    assert [call.split(f"runuser -u {user} -- ")[1] for call in made if "runuser" in call] == [
        f"env HOME={home} USER={user} make -C {home}/dfcnet {target}" for target in ("demo", "test")
    ]
    assert any("useradd" in call for call in calls) == (user != "root")
    assert re.search(r"^verify: .* make test \(\d+ s\)\n= 5 passed in 2s =$", done.stdout, re.M)
    assert f"all done: trixie, as {user}: demo test" in done.stdout
    assert not bare.exists()


def test_a_failure_names_its_step_and_leaves_the_log_alone(verify):
    (verify.commands / "debootstrap.works").touch()
    done = verify(*NATIVE, "test", STAND_IN_FAILS="yes")
    assert done.returncode == 1
    log = verify.work / "trixie-root.log"
    assert done.stderr.splitlines()[-1] == f"verify: failed at: make test (log: {log})"
    assert "= 5 passed in 2s =" in log.read_text()
    assert not (verify.work / "trixie-root").exists()
    verify(*NATIVE, "--keep", "test", STAND_IN_FAILS="yes")
    assert (verify.work / "trixie-root").exists()


@pytest.mark.parametrize("options", [(), ("Debian 13",), ("../etc",), ("trixie", "--fast")])
def test_what_is_not_a_suite_or_an_option_is_refused(verify, options):
    done = verify("native/verify.sh", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("verify: ")
    assert "usage: verify.sh SUITE" in done.stderr
    assert not verify.work.exists()


@pytest.mark.parametrize("target", ["", "gpu"])
def test_the_images_verification_names_its_targets(target):
    done = run(ROOT / "docker" / "verify.sh", *filter(None, [target]))
    assert done.returncode == 2
    assert "usage: verify.sh {cpu,cuda}" in done.stderr


@pytest.mark.parametrize("script", [NATIVE, DOCKER])
def test_only_root_may(verify, script):
    stand_in(verify.commands, id="echo 1000")
    done = verify(*script)
    assert (done.returncode, done.stderr) == (2, "verify: needs root, for debootstrap and chroot\n")
