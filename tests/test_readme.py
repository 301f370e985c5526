"""README and docs are finished: commands parse, what they name is there, links and anchors lead somewhere."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from prototxt_gen.experiment import Experiment, read_experiment
from prototxt_gen.models import DEPLOY, TRAIN, build

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "models").rglob("*.md")),
]
VARIABLES = {"DFCNET_DATA", "CAFFE_PREFIX", "CAFFE_SOURCE"}  # in capitals, and no number to be filled in
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.M | re.S)

# Commands that are not tools of ours, by their first word, and what vouches for them.
OTHERS = {
    "make": "targets are looked up in the Makefile",
    ".venv/bin/python": "modules and scripts are looked up",
    ".venv/bin/pip": "installs a lock of requirements/",
    "caffe": "tests/solvers/test_committed_nets.py",
    "docker": "build and compose: tests/docker/test_images.py; what docker runs is parsed here",
    "docker/verify.sh": "tests/native/test_bare_debian.py",
    "native/verify.sh": "tests/native/test_bare_debian.py",
    "dfcnet-gpu/gpu-check": "tools/gpu_check.py, parsed here",
    "source": "tests/requirements: the environment",
    "tar": "unpacks",
    "quilt": "tests/native/test_caffe_build.py: the patches apply in their order",
    "ln": "links",
    "ls": "lists",
    "rm": "removes",
    "cd": "changes the folder",
    "mkdir": "makes folders",
}

# Reads [[tool, argument ...] ...] and parses each as the tool itself would, which then does nothing.
PARSE = """
import argparse, contextlib, io, json, os, runpy, sys

class Parsed(BaseException):
    pass

def parsing_only(original):
    def parse(self, *arguments):
        parsed = original(self, *arguments)
        if hasattr(parsed, "experiment"):
            import cli
            named = [parsed.experiment, getattr(parsed, "named", None)]
            if not any(name and name.endswith(".toml") and not os.path.exists(name) for name in named):
                cli.read_experiment(parsed)
        raise Parsed
    return parse

for name in ("parse_args", "parse_intermixed_args"):
    setattr(argparse.ArgumentParser, name, parsing_only(getattr(argparse.ArgumentParser, name)))
root, wrong = sys.argv[1], []
sys.path.insert(0, os.path.join(root, "tools"))
for words in json.load(sys.stdin):
    sys.argv = words
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            runpy.run_path(os.path.join(root, "tools", words[0]), run_name="__main__")
        wrong.append([words, "parses nothing"])
    except Parsed:
        pass
    except SystemExit as error:
        if error.code:
            wrong.append([words, said.getvalue()])
json.dump(wrong, sys.stdout)
"""


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its fences, and without comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.S)


def fences(page: Path, *kinds: str) -> list[str]:
    return [body for _, kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind in kinds]


def commands(page: Path) -> list[list[str]]:
    """Words of each command in a page's fences, and of a `dfcnet ...` in its text.

    Variables before a command are left out, functions unwrapped.
    """
    found = []
    for body in fences(page, "sh", ""):
        text = re.sub(r"\\\n\s*", " ", body)
        text = re.sub(r"^\s*\w+\(\) \{|^\s*\}", "", text, flags=re.M)
        for line in text.splitlines():
            for part in line.split(" | "):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words:
                    found.append(words)
    return found + [words for words in inline(page) if not in_passing(words)]


def inline(page: Path) -> list[list[str]]:
    """Words of each `dfcnet ...` in a page's text."""
    return [shlex.split(line) for line in re.findall(r"`(dfcnet [a-z][^`]+)`", prose(page))]


def in_passing(words: list[str]) -> bool:
    """Whether `dfcnet COMMAND ...` names a command or options of it, without arguments, or with capitals."""
    rest = [word for word in words[2:] if word not in ("compare", "features", "reliability", "areas")]
    return not rest or rest[0].startswith("-") or rest[0].isupper()


def as_tool(words: list[str]) -> list[str] | None:
    """A command as [tool.py, argument ...], if it is one of tools/, in a container or not; else None."""
    if words[0] == "mpirun" and ".venv/bin/dfcnet" in words:
        words = words[words.index(".venv/bin/dfcnet") :]
    inside: list[str] = []
    if words[0] == "dfcnet-gpu/gpu-check":  # of the bundle
        return ["gpu_check.py", *words[1:]]
    if words[0] in (
        "dfcnet",
        ".venv/bin/dfcnet",
        "dfcnet-gpu/dfcnet",
    ):  # the README names `docker run ... IMAGE` so too
        inside = words[1:]
    elif words[:3] == ["docker", "compose", "run"]:
        service, *inside = [word for word in words[3:] if word != "--rm"]
        inside = inside if service == "tools" else [service, *inside]
    elif words[:2] == ["docker", "run"]:
        image = next(i for i, word in enumerate(words) if re.fullmatch(r"dfcnet:\w+", word))
        inside = words[image + 1 :]
    if not inside or inside[0] in ("demo", "test", "smoke", "$@"):
        return None
    return [inside[0].replace("-", "_") + ".py", *inside[1:]]


def slugs(page: Path) -> set[str]:
    """Anchors that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "") for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in plain}


def test_no_number_is_missing():
    for page in PAGES:
        capitals = set(re.findall(r"\b[A-Z]+_[A-Z]+\b", prose(page)))
        if page.name in ("README.md", "CONTRIBUTING.md"):
            assert capitals <= VARIABLES, relative(page)
        assert not capitals & {"TO_DO", "TBD_"}, relative(page)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_to_files_and_headings_that_are_there(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in slugs(file), target


def test_every_page_of_the_docs_is_reached_from_the_readme():
    linked = re.findall(r"\]\((docs/[^)#]+)\)", prose(ROOT / "README.md"))
    assert set(linked) >= {relative(page) for page in PAGES if page.parent.name == "docs"}


def test_every_command_of_our_tools_is_parsed_by_its_tool(tmp_path):
    """Options, their values and, for nets and training, the experiment with its --set."""
    found = [words for page in PAGES for words in map(as_tool, commands(page)) if words]
    assert len(found) > 40
    missing = [words[0] for words in found if not (ROOT / "tools" / words[0]).is_file()]
    assert not missing
    done = subprocess.run(
        [sys.executable, "-c", PARSE, ROOT],
        input=json.dumps(found),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    assert not list(tmp_path.iterdir())


def of_compose() -> list[list[str]]:
    """The commands of compose.yaml: those of its head, and what its service `train` does by itself."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    head = re.findall(r"^#\s+(docker compose run .*)$", text, re.M)
    (train,) = re.findall(r"^  train:\n.*?^    command: (\[.*?\])", text, re.M | re.S)
    assert len(head) > 2
    return [words for words in map(as_tool, map(shlex.split, head)) if words] + [
        ["train.py", *json.loads(train)]
    ]


def test_every_training_of_the_papers_nets_on_gpus_is_one_that_fits_them():
    """Of plain layers they take 127 GiB at the paper's crop."""
    found = [words for page in PAGES for words in map(as_tool, commands(page)) if words]
    nets = {"baseline", "classmate", "dfcnet"}
    trainings = [
        words
        for words in found + of_compose()
        if words[0] == "train.py" and "--gpus" in words and nets & set(words)
    ]
    assert len(trainings) > 10
    for words in trainings:
        assert "--dense-block fused" in " ".join(words), words


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_other_command_is_one_that_something_vouches_for(page):
    """What a command prints goes into a fence of kind `text`."""
    makefile = (ROOT / "Makefile").read_text()
    for words in commands(page):
        if as_tool(words):
            continue
        assert words[0] in OTHERS, words
        if words[0] == "make":
            assert all(re.search(rf"^{target}:", makefile, re.M) for target in words[1:]), words
        if words[0] == ".venv/bin/python" and words[1] != "-m":
            assert (ROOT / words[1]).exists(), words
        for path in (word for word in words if re.match(r"(tests|docker|solvers|studies)/", word)):
            assert (ROOT / path).exists(), words


def test_targets_that_the_pages_name_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)`", prose(page)):
            assert re.search(rf"^{target}:", makefile, re.M), (relative(page), target)


def test_options_named_in_passing_are_known_to_their_tools(run_tool):
    known: dict[str, str] = {}
    for page in PAGES:
        for tool, *rest in map(as_tool, filter(in_passing, inline(page))):
            assert (ROOT / "tools" / tool).exists(), (relative(page), tool)
            options = {word for word in rest if word.startswith("--")}
            if options and tool not in known:
                words = ["", "compare", "features"] if tool == "figure.py" else [""]
                known[tool] = "".join(run_tool(tool, *filter(None, [w]), "--help").stdout for w in words)
            for option in options:
                assert option in known[tool], (relative(page), tool, option)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_are_called_as_they_are_typed(page):
    """`dfcnet predict`, or `python tools/predict.py`: no `predict.py` in between."""
    tools = "|".join(path.stem for path in (ROOT / "tools").glob("*.py"))
    assert not re.findall(rf"`(?:{tools})\.py\b", prose(page))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_files_named_in_passing_are_there(page):
    """Paths between backticks that begin with a folder of ours; <name>, * and {a,b} stand for any."""
    rooms = "common|prototxt_gen|templates|datasets|data_prep|solvers|training|inference|evaluation|studies"
    folders = rf"(?:{rooms}|tools|native|gpu_check|requirements|docker|tests|benchmarks)"
    for path in re.findall(rf"`({folders}/[^`\s]*)`", prose(page)):
        if "<" in path:
            continue
        names = [path]
        if choice := re.search(r"\{([^}]*)\}", path):
            names = [path.replace(choice[0], name) for name in choice[1].split(",")]
        for name in names:
            assert list(ROOT.glob(name.rstrip("/"))), name


def test_the_example_of_an_experiment_is_one(tmp_path):
    (example,) = fences(ROOT / "docs" / "experiments.md", "toml")
    path = tmp_path / "mine.toml"
    path.write_text(example)
    experiment = read_experiment(path)
    assert build(experiment, TRAIN).layers
    assert build(experiment, DEPLOY).layers


def test_every_key_of_an_experiment_is_explained_with_its_default():
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    tables = {
        tuple(re.findall(r"`(\[.*?\]+)`", head)): body
        for head, body in re.findall(r"^\| ([^|]+) \| default \|.*\n((?:\|.*\n)+)", page, re.M)
    }
    parts: dict[str, type[BaseModel]] = {
        name: Experiment.model_fields[name].annotation for name in ("input", "densenet", "solver")
    }
    parts["tasks"] = Experiment.model_fields["tasks"].annotation.__args__[1]
    parts["multipliers"] = Experiment.model_fields["multipliers"].annotation.__args__[0]
    parts["fusion"] = Experiment.model_fields["fusion"].annotation.__args__[0]
    for name, model in parts.items():
        ((_, body),) = ((heads, body) for heads, body in tables.items() if any(name in h for h in heads))
        rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in body.splitlines()]
        for key, field in model.model_fields.items():
            ((_, default, *_),) = (row for row in rows if f"`{key}`" in row[0])
            values = [tomllib.loads(f"x = {v}")["x"] for v in re.findall(r"`([^`]*)`", default)]
            if field.is_required():
                assert not default, (name, key)
            elif field.default is None:
                assert "none" in default, (name, key)
            else:
                default = list(field.default) if isinstance(field.default, tuple) else field.default
                assert default in values, (name, key)


def test_the_summary_in_the_docs_is_the_one_printed(run_tool):
    done = run_tool("make_net.py", "dfcnet", "--summary")
    assert done.stdout in fences(ROOT / "docs" / "architecture.md", "text")


@pytest.mark.parametrize("name", ["baseline", "classmate", "dfcnet"])
def test_the_numbers_of_parameters_are_those_of_the_nets(name):
    net = build(read_experiment(ROOT / "solvers" / name / "experiment.toml"), TRAIN)
    size = sum(_count(shape) for layer in net.layers for shape in layer.params)
    assert re.search(rf"^\| `{name}`.*\| {size:,} \|$", (ROOT / "docs" / "architecture.md").read_text(), re.M)


def _count(shape: tuple[int, ...]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def test_the_citation_has_the_version_of_the_changelog_and_the_papers_authors():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    version = re.search(r"^version: (\S+)$", citation, re.M)[1]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"family-names: (\w+)", citation) == ["Tian", "Li", "Shi"]
