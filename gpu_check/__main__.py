"""Check this machine's GPUs: parity with the CPU, Caffe's own tests, training, resuming, speed."""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common.errors import DFCNetError
from common.files import check_writable, write_text
from gpu_check.checks import Checks, Row
from gpu_check.isolation import Died, isolated
from training.gpus import gpu_names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks and print a table; return 0 if all are well, 1 if not, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the table with the hardware's names there, too")
    parser.add_argument("--quick", action="store_true", help="small nets and crops only")
    parser.add_argument(
        "--cpu", action="store_true", help="take the CPU for the GPU: checks the checks, on any machine"
    )
    args = parser.parse_args(arguments)
    try:
        names = ["CPU"] if args.cpu else isolated(gpu_names)
    except Died as error:
        print(f"gpu-check: Caffe does not start ({error})", file=sys.stderr)
        return 2
    if not names:
        print(
            "gpu-check: this machine shows no NVIDIA GPU, or Caffe was built for the CPU alone; "
            "run it where nvidia-smi lists one, after `make caffe-cuda`",
            file=sys.stderr,
        )
        return 2
    print(f"{len(names)} x {names[0]}" if not args.cpu else "the CPU in a GPU's place", flush=True)
    if args.json:
        check_writable(args.json)
    rows = run(0 if args.cpu else len(names), args.quick)
    if args.json:
        write_text(args.json, json.dumps(report(names, rows), indent=1) + "\n")
    return 1 if any(row.ok is False for row in rows) else 0


def run(gpus: int, quick: bool) -> list[Row]:
    """Print the rows as they come, then a summary."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as folder:
        for row in Checks(Path(folder), gpus, quick).rows():
            rows.append(row)
            print(row, flush=True)
    bad = [row for row in rows if row.ok is False]
    print(f"{len(rows)} checks, {len(bad)} failed" + "".join(f"\n  {row.name}: {row.words}" for row in bad))
    return rows


def report(names: list[str], rows: list[Row]) -> dict:
    """Return the results with what they were measured on."""
    return {
        "gpus": names,
        "machine": platform.platform(),
        "checks": [{"name": row.name, "ok": row.ok, "result": row.words} for row in rows],
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DFCNetError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        sys.exit(2)
