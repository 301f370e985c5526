"""The README is finished, and what it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_no_number_is_missing():
    assert not re.findall(r"\b[A-Z]+_[A-Z]+\b(?<!DFCNET_DATA)(?<!CAFFE_PREFIX)(?<!CAFFE_SOURCE)", README)


def test_files_tools_and_targets_that_it_names_exist():
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
    for tool in re.findall(r"python (tools/\w+\.py)", README):
        assert (ROOT / tool).exists(), tool
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z]+(?:-[a-z]+)?)\b", README):
        assert target == "git" or re.search(rf"^{target}:", makefile, re.M), target


def test_options_that_it_and_the_docs_show_are_known_to_their_tools(run_tool):
    known: dict[str, str] = {}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for tool, rest in re.findall(r"python tools/(\w+\.py)([^\n]*)", text):
            if tool not in known:
                words = ["", "compare", "features"] if tool == "figure.py" else [""]
                known[tool] = "".join(run_tool(tool, *filter(None, [w]), "--help").stdout for w in words)
            for option in re.findall(r"(--[a-z-]+)", rest.split("#")[0]):
                assert option in known[tool], (page.name, tool, option)
