"""Every runtime of the benchmark answers as Caffe, in prediction and in training steps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.caffe
ROOT = Path(__file__).parents[2]
HAS_BF16 = bool({"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split()))
PEERS_PYTHON = os.environ.get("PEERS_PYTHON", sys.executable)


def has(module: str) -> bool:
    return (
        subprocess.run([PEERS_PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode
        == 0
    )


@pytest.fixture
def cases(monkeypatch):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import speed_cases

    from prototxt_gen.experiment import read_experiment

    return speed_cases, read_experiment(ROOT / "solvers" / "dfcnet_demo" / "experiment.toml")


@pytest.mark.parametrize("what, rounds", [("prediction", 0), ("training", 2)])
def test_rows_agree(tmp_path, cases, what, rounds):
    from speed_measuring import measure

    speed_cases, exp = cases
    if what == "prediction":
        _, forms = speed_cases.predicting(exp, 65, None)
        rows = speed_cases.prediction_rows(tmp_path, forms, 65, 1)
    else:
        _, forms = speed_cases.training(exp, 65)
        rows = speed_cases.training_rows(tmp_path, forms, 65, 1)
    rows = [row for row in rows if "-compiled" not in row.name]
    results = {result.name: result for result in measure(rows, rounds, 1, tmp_path)}
    modules = {"pytorch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}
    results = {name: result for name, result in results.items() if "the layer" not in result.remark}
    assert {"caffe plain", "pytorch"} <= set(results)
    for name, result in results.items():
        module = modules.get(name.partition("-")[0])
        if "bf16" in name and not HAS_BF16:
            assert result.remark
        elif module is None or has(module):
            assert not result.remark
            assert not result.wrong
            if "bf16" not in name:
                assert result.difference < 1e-5
        else:
            assert result.remark == f"{module} is not installed"


def test_losses_agree_after_updates_too(tmp_path, cases):
    """Let Caffe and PyTorch take four steps on one input: gradients and updates must be alike."""
    from speed_measuring import RowProcess

    if not has("torch"):
        pytest.skip("PyTorch is not installed")
    speed_cases, exp = cases
    _, forms = speed_cases.training(exp, 65)
    rows = {row.name: row for row in speed_cases.training_rows(tmp_path, forms, 65, 1)}
    losses = {}
    for name in ("caffe plain", "pytorch"):
        process = RowProcess(rows[name], 1)
        first = process.answers(tmp_path)
        for _ in range(3):
            process.run()
        losses[name] = process.answers(tmp_path)
        process.close()
    assert sorted(first) == ["land_loss", "road_loss"]
    for task, loss in losses["caffe plain"].items():
        assert abs(first[task] - loss) > 1e-3 * loss  # it has learnt
        assert losses["pytorch"][task] == pytest.approx(loss, rel=1e-3)
