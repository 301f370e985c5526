"""Runs commands of tools/ in forks of one Python that has the third-party packages loaded already.

Started and asked by `Tools` in this module. A fork runs a tool's file as Python would: its arguments, folder,
exit code and streams are its own, and so are the modules of this project, which are imported in each fork.
"""

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("cv2", "google.protobuf", "jinja2", "lmdb", "matplotlib.figure", "numpy", "pydantic", "pyogrio")
PACKAGES += ("rasterio", "shapely", "tomllib", "tqdm")


def environment() -> dict[str, str]:
    """Return the variables that a command sees; pytest changes its own at each test."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


class Tools:
    """Runs commands of tools/: by a server, or by a new Python where a test has changed the environment."""

    def __init__(self) -> None:
        self.environment = environment()
        self.server = None

    def run(self, name: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
        """Run a command; the result is that of subprocess.run with its output as text."""
        command = [str(word) for word in (ROOT / "tools" / name, *arguments)]
        if environment() != self.environment:
            return subprocess.run(
                [sys.executable, *command], capture_output=True, text=True, cwd=cwd, check=False
            )
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            streams = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, err)]
            code = self._ask([command, str(cwd or Path.cwd()), *streams])
            return subprocess.CompletedProcess([sys.executable, *command], code, out.read(), err.read())

    def _ask(self, request: list) -> int:
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
            )
        try:
            self.server.stdin.write(json.dumps(request).encode() + b"\n")
            self.server.stdin.flush()
            if answer := self.server.stdout.readline():
                return int(answer)
            raise RuntimeError(f"the server of tools ended with {self.server.wait()} at {request[0]}")
        except BaseException:  # as when a test's time is up: the answer would be the next request's
            self.close()
            raise

    def close(self) -> None:
        """End the server, and a command that still runs."""
        if self.server:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.communicate()
            self.server = None


def fork_per_request() -> list | None:
    """Fork for each request on stdin and print its exit code; return the request in the fork."""
    for line in sys.stdin:
        request = json.loads(line)
        if not (child := os.fork()):
            return request
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


def become(command: list[str], folder: str, stdout: str, stderr: str) -> None:
    """Run a tool in this process, in place of the server."""
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, stdout, os.O_WRONLY | os.O_APPEND),
        (2, stderr, os.O_WRONLY | os.O_APPEND),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(folder)
    sys.argv, sys.path[0] = command, str(Path(command[0]).parent)
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    importlib.import_module("common.environment").pin()
    for package in PACKAGES:
        importlib.import_module(package)
    for module in [name for name in sys.modules if name.partition(".")[0] == "common"]:
        del sys.modules[module]
    if asked := fork_per_request():
        become(*asked)
