"""docs/tutorial.md goes all the way as it is written; what is made and trained is smaller."""

import os
import re
import subprocess
import sys

import pytest

from tests.test_readme import FENCE, ROOT, commands, fences

PAGE = ROOT / "docs" / "tutorial.md"
SMALLER = {"crop = 129": "crop = 65", "max_iter = 300": "max_iter = 4", "snapshot = 100": "snapshot = 4"}
FEWER = {"--land": "8", "--size": "128", "--variants": "2", "--per-class": "5"}


@pytest.mark.caffe
@pytest.mark.timeout(900)
def test_the_pages_commands_lead_from_scenes_to_hectares(tmp_path, monkeypatch, run_tool):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    survey, small = fences(PAGE, "toml")
    for old, new in SMALLER.items():
        assert small.count(old) == 1
        small = small.replace(old, new)
    names = re.findall(r"`(tutorial/\w+\.toml)`", FENCE.sub("", PAGE.read_text(encoding="utf-8")))
    (interpreted,) = fences(PAGE, "python")
    ran = []
    for _, command, *arguments in (words for words in commands(PAGE) if words[0] == "dfcnet"):
        for option, value in FEWER.items():
            if option in arguments:
                arguments[arguments.index(option) + 1] = value
        if command == "area":
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            subprocess.run([sys.executable, "-c", interpreted], check=True, env=environment)
        done = run_tool(f"{command.replace('-', '_')}.py", *arguments)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        ran.append(command)
        if command == "make-scenes":
            for name, text in zip(names, (survey, small), strict=True):
                (tmp_path / name).write_text(text)
    assert ran == [
        *("make-scenes", "verify-data", "build-lmdb", "train", "predict", "evaluate"),
        *("polygons", "sample", "area"),
    ]
    # A pixel has 0.25 m2: two scenes of 128 x 128.
    assert f"2 maps, {2 * 128 * 128 * 0.25 / 1e4:.2f} ha" in done.stdout
