"""The house rules that a machine can check."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_ruff_finds_nothing():
    for command in (["check", "--quiet"], ["format", "--check", "--quiet"]):  # an image is not writable
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


ROOMS = ("common", "prototxt_gen", "data_prep", "training", "inference", "evaluation", "studies", "tools")


def test_only_training_and_inference_import_caffe():
    for path in python_files(*set(ROOMS) - {"training", "inference"}):
        assert not re.search(r"^\s*(import|from) caffe\b", path.read_text(), re.M), path


def test_arrows_between_the_rooms_point_one_way():
    """Each room of ROOMS imports only those before it."""
    for number, room in enumerate(ROOMS[:-1]):
        above = "|".join(ROOMS[number + 1 :])
        for path in python_files(room):
            assert not re.search(rf"^\s*(import|from) ({above})\b", path.read_text(), re.M), path


def test_tools_are_alike():
    """Arguments are parsed before anything that takes time, or sets threads, is imported."""
    early = {*sys.stdlib_module_names, "cli", "data_options"}
    for path in python_files("tools"):
        tree = ast.parse(path.read_text())
        if "__main__" not in path.read_text() or path.name == "dfcnet.py":
            continue
        assert {"parse_arguments", "main"} <= {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, (
            path
        )
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] in early or name == "inference.backends", (path, name)
        assert ast.get_docstring(tree), path


def test_templates_hold_syntax_only():
    for path in (ROOT / "templates").glob("*/*"):
        text = path.read_text()
        assert len(text.splitlines()) <= 60, path
        assert not re.search(r"{%.*[-+*/]\s*\d.*%}|{{.*\d\s*[-+*/].*}}", text), path


def test_no_two_public_classes_share_a_name():
    where: dict[str, str] = {}
    for path in python_files(*ROOMS, "benchmarks", "gpu_check"):
        for name in re.findall(r"^class ([A-Z]\w*)", path.read_text(), re.M):
            other = where.setdefault(name, str(path))
            assert other == str(path), f"{name} is a class of {other} and of {path}"


# Phrases that must not come back, and what stands in their place.
PHRASES = {
    r"(?<![Tt]here )\b(is|are|was) no (?!longer\b|more than\b|less than\b)[A-Za-z]": "is not a",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\btold in\b|\btells? (more|whether)\b": "named in, says more, returns whether",
    r"\b(begun|began) (with|from)\b": "started with",
    r"\b(is|was) let alone\b": "left alone",
    r"\bsooner done\b": "finishes sooner",
    r"\bnone of the (arms|tasks)\b": "not one of the",
    r"\b(for )?want of\b": "lack of",
    r"\bshall be\b": "is to be",
    r"\bgive its call\b": "name",
    r"\b[a-z]{3,}\.s\b": "'s",
    r"\banother [\w-]+ than\b": "other than, whose X is not",
}
# The paper's own words, and numbers that are not there.
QUOTED = ("there are no overlap", "and no gradient")


def test_phrases_that_are_not_english_do_not_come_back():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False).stdout
    paths = [ROOT / name for name in listed.splitlines()] or list(ROOT.rglob("*"))
    pages = [path for path in paths if path.suffix in (".py", ".md", ".sh", ".toml", ".j2")]
    assert len(pages) > 200
    for path in pages:
        if path == Path(__file__) or not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            for phrase, better in PHRASES.items():
                if not any(quoted in line for quoted in QUOTED):
                    assert not re.search(phrase, line), f"{path.relative_to(ROOT)}: {line.strip()} ({better})"


def test_messages_and_help_name_commands_as_they_are_typed():
    """`dfcnet train`: files of tools/ are named in docstrings, in headers of nets, and where they are run."""
    commands = "|".join(path.stem for path in (ROOT / "tools").glob("*.py"))
    for path in python_files(*ROOMS):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        help_text = [ast.get_docstring(tree)] if path.parent.name == "tools" and path.stem != "dfcnet" else []
        messages = [
            node.value
            for call in ast.walk(tree)
            if isinstance(call, ast.Call | ast.Assign) and "Command(" not in ast.unparse(call)
            for node in ast.walk(call)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
        ]
        for text in help_text + messages:
            assert not re.search(rf"(?<!/)\b({commands})\.py\b", text), (path, text)
