"""The benchmark of convolutions measures the pass that it names, and both engines compute the same."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.caffe


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module("bench_convolution")


@pytest.mark.parametrize("kind", ["forward", "at TEST", "input's gradient", "weights' gradient"])
def test_each_pass_computes_what_it_is_named_for(bench, kind):
    from training.pycaffe import import_caffe

    shape = bench.Convolution(3, 2, 2, 3, 9)
    for engine, run in bench._passes(import_caffe(), shape, kind):
        net = run.__self__
        weights = net.params["y"][0]
        rng = np.random.default_rng(1)
        for values in (weights.data, net.blobs["data"].data, net.blobs["y"].diff):
            values[...] = rng.normal(size=values.shape)
        weights.diff[...] = 0
        x, w, dy = (a.copy() for a in (net.blobs["data"].data[0], weights.data, net.blobs["y"].diff[0]))
        run()
        y, dx, dw = by_hand(x, w, dy)
        if kind in ("forward", "at TEST"):
            np.testing.assert_allclose(net.blobs["y"].data[0], y, atol=1e-4, err_msg=engine)
        np.testing.assert_allclose(
            net.blobs["data"].diff[0], dx if kind.startswith("input") else 0, atol=1e-4, err_msg=engine
        )
        np.testing.assert_allclose(
            weights.diff, dw if kind.startswith("weights") else 0, atol=1e-4, err_msg=engine
        )


def by_hand(x, w, dy) -> tuple:
    """The convolution 3x3, stride 2, pad 1, and its gradients, by loops."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    y, dx, dw = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(w.shape)
    for row in range(dy.shape[1]):
        for column in range(dy.shape[2]):
            window = np.s_[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            for k in range(len(w)):
                y[k, row, column] = (padded[window] * w[k]).sum()
                dx[window] += dy[k, row, column] * w[k]
                dw[k] += dy[k, row, column] * padded[window]
    return y, dx[:, 1:-1, 1:-1], dw


def test_it_prints_a_row_for_each_shape(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "SHAPES", (bench.Convolution(1, 1, 4, 4, 9),))
    monkeypatch.setattr(sys, "argv", ["bench_convolution.py", "--rounds", "1"])
    bench.main()
    *_, row = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\| 1x1, 4 to 4, at 9 \|( \S+ -> \S+ \|){4}", row)
