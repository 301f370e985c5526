"""What all commands share: how they end."""

import os
import subprocess
import sys

from tests.conftest import ROOT

TOOL = """
import sys
sys.path.insert(0, "tools")
import cli
from common.errors import DataError

def main():
    {body}

cli.run(main)
"""


def without_a_reader(*command: object) -> subprocess.CompletedProcess:
    """Run a Python program whose stdout is a pipe that nobody reads, as that of `| head` comes to be."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        words = [sys.executable, *map(str, command)]
        buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
        return subprocess.run(
            words, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=buffered, check=False
        )
    finally:
        os.close(writing)


def test_a_command_whose_reader_has_gone_ends_without_a_word():
    done = without_a_reader("tools/make_net.py", "dfcnet_demo", "--summary")
    assert (done.returncode, done.stderr) == (141, "")


def test_much_to_say_and_nobody_to_read_it_ends_without_a_word():
    """More than stdout's buffer: the pipe breaks in the middle of the command."""
    done = without_a_reader("-c", TOOL.format(body="print('x' * 1_000_000)"))
    assert (done.returncode, done.stderr) == (141, "")


def test_a_mistake_is_told_though_nobody_reads_the_rest():
    done = without_a_reader(
        "-c", TOOL.format(body="print('x'); raise DataError('a.png', 'is odd', 'fix it')")
    )
    assert (done.returncode, done.stderr) == (2, "-c: a.png: is odd; fix it\n")


def test_our_own_bug_is_told_though_nobody_reads_the_rest():
    done = without_a_reader("-c", TOOL.format(body="print('x'); raise RuntimeError('of ours')"))
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: of ours\n")


def test_a_command_without_any_stdout_does_its_work():
    words = [sys.executable, "-c", TOOL.format(body="print('x')")]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *words], stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipe_that_breaks_elsewhere_is_no_quiet_end():
    body = "raise BrokenPipeError('of a worker')"
    done = subprocess.run(
        [sys.executable, "-c", TOOL.format(body=body)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert "BrokenPipeError: of a worker" in done.stderr
