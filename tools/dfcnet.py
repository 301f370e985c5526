"""The commands of DFCNet by name: `dfcnet build-lmdb ...` is `python tools/build_lmdb.py ...`."""

import ast
import runpy
import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import cli

TOOLS = Path(__file__).resolve().parent


def commands() -> dict[str, Path]:
    """Return the files of the commands by name."""
    files = (path for path in sorted(TOOLS.glob("*.py")) if path.name != "dfcnet.py")
    return {
        path.stem.replace("_", "-"): path for path in files if "__main__" in path.read_text(encoding="utf-8")
    }


def summary(path: Path) -> str:
    """Return the first line of a command's docstring."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]


def main() -> None:
    """Run a command as Python runs its file, or list them all."""
    known, name = commands(), sys.argv[1] if len(sys.argv) > 1 else ""
    if tool := known.get(name.replace("_", "-")):
        sys.argv = [str(tool), *sys.argv[2:]]
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    parser = cli.make_parser(
        "The commands of DFCNet; COMMAND --help explains the options of each.",
        prog="dfcnet",
        usage="dfcnet COMMAND [OPTION ...]",
        formatter_class=RawDescriptionHelpFormatter,
        epilog="\n".join(["commands:", *(f"  {each:<16} {summary(path)}" for each, path in known.items())]),
    )
    if name.startswith("-"):
        parser.parse_args()
    if name:
        parser.exit(2, f"dfcnet: no command {name}; --help lists them\n")
    parser.print_help()


if __name__ == "__main__":
    cli.run(main)
