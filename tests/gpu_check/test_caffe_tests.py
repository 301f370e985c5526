"""Caffe's own test program, with a stand-in that dies, fails and hangs."""

import sys

import pytest

from gpu_check import caffe_tests
from gpu_check.deadline import Deadline

OUTPUT = """[==========] Running 3 tests from 2 test cases.
[ RUN      ] InterpLayerTest/2.TestForward
[       OK ] InterpLayerTest/2.TestForward (1 ms)
[ RUN      ] InterpLayerTest/3.TestGradient
"""


def test_a_test_program_that_ends_well_is_counted():
    text = OUTPUT + "[       OK ] InterpLayerTest/3.TestGradient (1 ms)\n[  PASSED  ] 2 tests.\n"
    assert caffe_tests.read_result(text, "", 0) == caffe_tests.SuiteResult(2, (), "[  PASSED  ] 2 tests.")


def test_failed_tests_are_named_once():
    line = "[  FAILED  ] InterpLayerTest/3.TestGradient, where TypeParam = caffe::GPUDevice<double>"
    text = f"{OUTPUT}{line} (3 ms)\n[  PASSED  ] 1 test.\n[  FAILED  ] 1 test, listed below:\n{line}\n"
    result = caffe_tests.read_result(text, "", 1)
    assert (result.passed, result.failed) == (1, ("InterpLayerTest/3.TestGradient",))


def test_a_test_program_that_dies_has_failed_the_test_it_was_in():
    result = caffe_tests.read_result(
        OUTPUT, "F1122 Check failed: error == cudaSuccess\n    @ 0x55 main\n", -6
    )
    assert result.failed == ("InterpLayerTest/3.TestGradient",)
    assert result.last_line == "F1122 Check failed: error == cudaSuccess"


PROGRAM = """#!{python}
import os, sys
wanted, _, unwanted = sys.argv[1].removeprefix("--gtest_filter=").partition("-")
for name in ("A.1", "A.2", "B.1", "B.2", "B.3"):
    if name in unwanted.split(":"):
        continue
    print("[ RUN      ] " + name, flush=True)
    if name in ("A.2", "B.2"):
        print("F1122 Check failed in " + name, file=sys.stderr, flush=True)
        os.abort()
    print(("[  FAILED  ] " if name == "B.1" else "[       OK ] ") + name + " (1 ms)", flush=True)
print("[  PASSED  ] some tests.")
"""


def test_tests_that_end_the_program_have_failed_and_the_others_are_run(tmp_path):
    program = tmp_path / "test_layers"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    result = caffe_tests.run_caffe_tests("*", None, Deadline(60), program)
    assert (result.passed, result.failed) == (2, ("A.2", "B.1", "B.2"))
    assert result.last_line == "F1122 Check failed in A.2"


@pytest.mark.parametrize("words", ["echo starting", "echo '[ RUN      ] A.1'"])
def test_a_test_program_that_hangs_is_killed_and_has_failed(tmp_path, words):
    program = tmp_path / "test_layers"
    program.write_text(f"#!/bin/sh\n{words}\nexec sleep 60\n")
    program.chmod(0o755)
    result = caffe_tests.run_caffe_tests("*", None, Deadline(1.4), program)
    assert (result.passed, len(result.failed)) == (0, 1)
    assert result.last_line == "after 1 s there was no end"


def test_tests_are_left_out_behind_the_only_hyphen_of_a_filter():
    assert caffe_tests.without("*/2.*", []) == "*/2.*"
    assert caffe_tests.without("*/2.*", ["A.1", "B.1"]) == "*/2.*-A.1:B.1"
    assert caffe_tests.without("*/0.*-*GPU*", ["A.1"]) == "*/0.*-*GPU*:A.1"


def test_our_tests_are_those_of_a_device_without_numerical_gradients():
    assert (
        caffe_tests.ours(True) == "Fused*/2.*:Fused*/3.*:InterpLayerTest/2.*:InterpLayerTest/3.*-*Gradient*"
    )
    assert "/0." in caffe_tests.ours(False)
