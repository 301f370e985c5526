#!/usr/bin/env python
"""Time and peak memory of a tile's prediction and of a training step, in Caffe and in other runtimes.

All rows of a table have the same net, weights and input: first their answers are compared, on a small side,
then every round runs each row once, each in a process of its own. Times are medians after a warm-up, peaks
are resident memory, "difference" is the largest from the first row, of probabilities or losses, and
"arithmetic" what the convolutions' multiply-adds alone take at the machine's sgemm rate (times three for a
training step). Of a busy machine's times nothing can be concluded: the load is printed.

PyTorch stands there as it is installed, and as a user runs it who has tuned glibc's allocator ("tuned", by
three variables): eager, channels-last, compiled, with checkpointed units, in bfloat16 autocast. "x PyTorch"
is to the best of them in fp32.

PyTorch, onnxruntime and OpenVINO are optional: `.venv/bin/pip install torch onnxruntime openvino` puts them
into the environment, or PEERS_PYTHON=/path/to/python names another one that has them. Rows of what is
not installed, or of what does not fit in memory, say so.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", str(len(os.sched_getaffinity(0))))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from machine import describe_machine
from speed_cases import predicting, prediction_rows, training, training_rows
from speed_measuring import Measurement, Sgemm, measure

from common.files import write_text
from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.cost import multiply_adds
from prototxt_gen.experiment import Experiment, experiment_path, read_experiment
from prototxt_gen.layers import Net

CHECK_SIDE = 129
TRAINING_PASSES = 3  # forward, gradients of inputs, gradients of weights


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiment", default="dfcnet", help="of solvers/ (default: dfcnet)")
    parser.add_argument("--sides", type=int, nargs="*", default=[513, 1025], help="of tiles to predict")
    parser.add_argument("--train-sides", type=int, nargs="*", default=[257, 513], help="of crops to train on")
    parser.add_argument(
        "--rows", nargs="+", metavar="WORD", help="only rows whose name holds one of the words"
    )
    parser.add_argument("--repeat", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--weights", type=Path, help="trained weights for prediction (default: random ones)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write results and hardware there too")
    return parser.parse_args()


def main() -> None:
    """Print a table for each side; exit code 1 where a row answers otherwise than Caffe."""
    args = parse()
    exp = read_experiment(experiment_path(args.experiment))
    hardware = describe_machine()
    print(
        f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:.0f} GB; {exp.name}",
        flush=True,
    )
    runs = [("prediction", CHECK_SIDE, 0)] * bool(args.sides)
    runs += [("training", CHECK_SIDE, 0)] * bool(args.train_sides)
    runs += [("prediction", side, args.repeat) for side in args.sides]
    runs += [("training", side, args.repeat) for side in args.train_sides]
    tables = [run_table(args, exp, phase, side, rounds) for phase, side, rounds in runs]
    if args.json:
        results = {"hardware": hardware, "experiment": exp.name, "tables": [t for t in tables if t["rounds"]]}
        write_text(args.json, json.dumps(results, indent=1) + "\n")
    sys.exit(1 if any(row["wrong"] for table in tables for row in table["rows"]) else 0)


def run_table(args: argparse.Namespace, exp: Experiment, phase: str, side: int, rounds: int) -> dict:
    """Measure and print one table; without rounds only compare the answers."""
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder, sgemm, load = Path(name), Sgemm(), os.getloadavg()[0]
        if phase == "prediction":
            net, forms = predicting(exp, side, read_caffemodel(args.weights) if args.weights else None)
            rows, passes = prediction_rows(folder, forms, side, threads), 1
        else:
            net, forms = training(exp, side)
            rows, passes = training_rows(folder, forms, side, threads), TRAINING_PASSES
        rows = [row for row in rows if not args.rows or any(word in row.name for word in args.rows)]
        results = measure(rows, rounds, threads, folder, sgemm.measure)
    operations = 2 * passes * _multiply_adds(net)
    if rounds:
        rate = sgemm.rate
        head = f"{operations / 1e9:.0f} GFLOP, sgemm {rate / 1e9:.0f} GFLOP/s, load {load:.1f}"
        print(f"\n{phase}, {side} x {side}: {head}", flush=True)
        print_table(results, operations / rate)
    else:
        rate = None
        print(f"\n{phase}, {side} x {side}: largest difference from {results[0].name}")
        for result in results[1:]:
            print(f"  {result.name:26} {result.remark or f'{result.difference:.1e}'}")
    for result in results:
        if result.wrong:
            print(f"  {result.name} differs from {results[0].name} by {result.difference:.1e}: TOO MUCH")
    rows = [vars(result) | {"median": result.median} for result in results]
    return {
        "what": phase,
        "side": side,
        "rounds": rounds,
        "operations": operations,
        "sgemm_rate": rate,
        "load_before": load,
        "rows": rows,
    }


def print_table(results: list[Measurement], floor: float) -> None:
    """Print medians, their ratios to PyTorch's best in fp32 and to the arithmetic, peaks and differences."""
    exact = [result for result in results if result.name.startswith("pytorch") and "bf16" not in result.name]
    torch = min((result.median for result in exact if result.seconds), default=float("nan"))
    print(f"  {'':26} {'s':>8} {'x PyTorch':>10} {'x arithmetic':>13} {'peak GB':>8} {'difference':>11}")
    for result in results:
        if result.remark:
            print(f"  {result.name:26} {result.remark}")
            continue
        ratios = f"{result.median / torch:10.2f} {result.median / floor:13.2f}"
        numbers = f"{result.median:8.3f} {ratios} {result.peak / 1e9:8.2f} {result.difference:11.1e}"
        print(f"  {result.name:26} {numbers}")
    print(f"  {'arithmetic':26} {floor:8.3f} {floor / torch:10.2f} {1:13.2f}", flush=True)


def _multiply_adds(net: Net) -> int:
    return sum(multiply_adds(layer) for layer in net.layers)


if __name__ == "__main__":
    main()
