"""Numbers in README and docs are those of the files that were measured."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMALL = ROOT / "studies" / "results" / "small"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SPEED = {
    cpu: json.loads((ROOT / "benchmarks" / "results" / f"speed_{cpu}_2cores.json").read_text())
    for cpu in ("epyc", "xeon")
}
# Rows of docs/speed.md and the names they have in the files.
ROWS = {
    "Caffe, plain layers": "caffe plain",
    "Caffe, BatchNorm folded": "caffe folded",
    "Caffe, fused layers": "caffe fused",
    "Caffe, fused layers, bfloat16": "caffe fused bf16",
    "PyTorch 2.13, as installed": "pytorch",
    "PyTorch 2.15": "pytorch",
    "PyTorch, allocator tuned": "pytorch-tuned",
    "PyTorch, tuned, channels last": "pytorch-tuned-channels-last",
    "PyTorch, tuned, `torch.compile`": "pytorch-tuned-compiled",
    "PyTorch, tuned, checkpointed units": "pytorch-tuned-checkpointed",
    "onnxruntime 1.32": "onnxruntime",
    "onnxruntime 1.31": "onnxruntime",
    "OpenVINO 2026.4.1": "openvino",
    "OpenVINO 2026.4": "openvino",
    "OpenVINO, bfloat16 (not offered by `dfcnet predict`)": "openvino-bf16",
}


def table_rows(text: str) -> list[list[str]]:
    """The cells of all rows of Markdown tables, without bold."""
    return [
        [cell.strip().replace("**", "") for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def test_the_studys_tables_stand_in_the_docs_as_they_were_written():
    tables = (SMALL / "tables.md").read_text(encoding="utf-8").strip()
    assert tables in (ROOT / "docs" / "study.md").read_text(encoding="utf-8")


def test_the_readmes_study_is_that_of_the_scores():
    scores = json.loads((SMALL / "scores.json").read_text())
    rows = [row for row in scores["rows"] if row["mode"] == "one_scale"]
    written = [row for row in table_rows(README) if re.fullmatch(r"\d+\.\d+ ± \d+\.\d+", row[1])]
    assert len(written) == len(rows) == 5
    for row, cells in zip(rows, written, strict=True):
        mean = 100 * sum(row["mious"]) / len(row["mious"])
        variance = sum((100 * value - mean) ** 2 for value in row["mious"]) / (len(row["mious"]) - 1)
        low, high = (100 * bound for bound in row["interval"])
        assert cells[1:3] == [f"{mean:.2f} ± {variance**0.5:.2f}", f"{low:.2f} to {high:.2f}"], row["arm"]


def measured(cpu: str, what: str, side: int) -> dict[str, dict]:
    """The rows of one table; without those for which the CPU has no bfloat16."""
    (table,) = (t for t in SPEED[cpu]["tables"] if (t["what"], t["side"]) == (what, side))
    return {row["name"]: row for row in table["rows"] if not row["remark"].startswith("bfloat16")}


def is_written(row: dict, seconds: str, memory: str) -> bool:
    """Return whether the cells are a row's median and peak, rounded to the digits that they have."""
    if not row["seconds"]:
        return seconds.startswith("does not fit")

    def agree(cell: str, value: float) -> bool:
        number, _, _ = cell.partition(" ")
        return abs(float(number) - value) <= 0.5000001 * 10 ** -len(number.partition(".")[2])

    return agree(seconds, row["median"]) and agree(memory, row["peak"] / 1e9)


@pytest.mark.parametrize(
    ("cpu", "what", "sides", "head"),
    [
        ("epyc", "prediction", (513, 1025), "prediction by AVX2 |"),
        ("epyc", "training", (257,), "training step by AVX2,"),
        ("xeon", "prediction", (513, 1025), "prediction |"),
        ("xeon", "training", (257, 513), "training step,"),
    ],
)
def test_the_speeds_in_the_docs_are_the_medians(cpu, what, sides, head):
    part = (ROOT / "docs" / "speed.md").read_text().split(f"| {head}", 1)[1].split("\n\n")[0]
    tables = [measured(cpu, what, side) for side in sides]
    rows = [row for row in table_rows("| " + part) if row[0] in ROWS]
    assert len(rows) == len(tables[0])
    for name, *cells in rows:
        for number, table in enumerate(tables):
            pair = cells[2 * number : 2 * number + 2]
            assert is_written(table[ROWS[name]], *pair), (name, pair)


def test_the_readmes_speeds_are_the_medians():
    predicted, trained = measured("epyc", "prediction", 1025), measured("epyc", "training", 257)
    rows = [row for row in table_rows(README) if row[0] in ROWS]
    assert len(rows) == 5
    for name, *cells in rows:
        if ROWS[name] in predicted:
            assert is_written(predicted[ROWS[name]], cells[0], cells[1]), name
        if ROWS[name] in trained:
            assert is_written(trained[ROWS[name]], cells[2], cells[3]), name
