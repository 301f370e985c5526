"""The checks, the most telling first: a run may end early."""

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gpu_check import caffe_tests, libraries, parity_checks, speed_checks, training_checks
from gpu_check.deadline import Check, Deadline
from gpu_check.isolation import run_command
from gpu_check.rows import Row
from gpu_check.target import NET, NO_CACHE, Target

SANITIZED = "FusedKernelsTest/2.DenseBlockOfManyPixelsTrainsAsOnTheCPU:InterpLayerTest/2.*"


def all_checks(target: Target) -> list[Check]:
    """Return the checks in their order, with seconds as a data-centre GPU with 16 cores needs them."""
    checks = (
        ("libraries", 5, 40, libraries_found),
        ("our layers' own tests", 10, 60, our_tests),
        ("layers", 5, 40, parity_checks.layers),
        (f"{NET} against the CPU", 10, 90, parity_checks.net),
        ("prediction against the CPU", 10, 60, parity_checks.prediction),
        ("speed, fused", 15, 130, speed_checks.fused),
        ("speed, PyTorch", 20, 150, speed_checks.pytorch),
        ("milliseconds by layer", 10, 30, speed_checks.by_layer),
        ("20 iterations", 20, 60, training_checks.iterations),
        ("NCCL", 15, 60, training_checks.nccl),
        ("compute-sanitizer", 15, 60, sanitizer),
        ("training on real scenes", 90, 60 + 1.3 * target.train_seconds, training_checks.real_scenes),
        ("the other nets against the CPU", 20, 90, parity_checks.other_nets),
        ("speed, plain", 20, 60, speed_checks.plain),
        ("speed, PyTorch compiled", 60, 180, speed_checks.compiled),
        ("Caffe's own tests", 20, 180, caffes_tests),
    )
    return [Check(name, least, most, partial(rows, target)) for name, least, most, rows in checks]


def libraries_found(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Say what is loaded from where; name what is not found."""
    missing = libraries.missing(deadline.left())
    yield Row("libraries found", not missing, ", ".join(missing) or "all")
    versions = target.run(libraries.versions, timeout=deadline.left())
    words = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield Row("versions", None, words, versions)
    paths = target.run(libraries.loaded, timeout=deadline.left())
    folders = sorted({str(Path(path).parent) for path in paths.values()})
    yield Row("libraries loaded", None, ", ".join(folders), {"paths": paths})


def our_tests(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Run our layers' tests in C++, with strips as they come and with the smallest."""
    for words, environment in (("", {}), (", smallest strips", NO_CACHE)):
        pattern = caffe_tests.ours(target.gpus > 0)
        yield _caffe_tests(target, f"our layers' own tests{words}", pattern, deadline, environment)


def caffes_tests(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Run Caffe's tests of the layers that our nets are made of."""
    pattern = caffe_tests.ON_GPU if target.gpus else caffe_tests.ON_CPU
    yield _caffe_tests(target, "Caffe's own tests", pattern, deadline, {})


def _caffe_tests(
    target: Target, name: str, pattern: str, deadline: Deadline, environment: dict[str, str]
) -> Row:
    variables = {**target.device.environment, **environment}
    result = caffe_tests.run_caffe_tests(pattern, target.device.gpu, deadline, environment=variables)
    return Row(name, result.ok, str(result))


def sanitizer(target: Target, deadline: Deadline) -> Iterator[Row]:
    """Run some of our layers' tests under CUDA's memory checker."""
    name, program = "compute-sanitizer", shutil.which("compute-sanitizer")
    if not target.gpus or not program:
        yield Row(name, None, f"skipped: {'not on PATH' if target.gpus else 'needs a GPU'}")
        return
    command = [program, caffe_tests.test_program(), f"--gtest_filter={SANITIZED}", target.device.gpu]
    out, err, code = run_command(command, deadline.left(), NO_CACHE)
    summary = re.search(r"ERROR SUMMARY: (\d+) error", out + err)
    ok = code == 0 and summary is not None and summary[1] == "0"
    words = f"{len(re.findall(r'^.       OK ]', out, re.M))} tests, "
    yield Row(name, ok, words + (summary[0] if summary else (err or out).strip()[-200:]))
