"""Training in fused layers: a run resumes to the bit, and its weights serve nets of both forms."""

from pathlib import Path

import numpy as np
import pytest

from prototxt_gen.caffemodel import read_caffemodel
from prototxt_gen.fused_weights import plain_view
from tests.inference import whole_maps
from tests.training.test_resume import assert_equal, finish, set_to, start

pytestmark = pytest.mark.caffe
FUSED = ("--dense-block", "fused")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def probabilities(deploy: Path, weights: Path, image: np.ndarray) -> np.ndarray:
    from inference.deploy import read_deploy
    from inference.loading import load_predictor

    predictor, _ = load_predictor(read_deploy(deploy), weights, warn=pytest.fail)
    return whole_maps.probabilities(predictor, image)


def test_2n_iterations_are_n_a_snapshot_and_n_more(tiny, tmp_path):
    set_to(tiny, max_iter=8, snapshot="4\nkeep_snapshots = 20")
    finish(start(tiny, "straight", *FUSED))
    finish(start(tiny, "stopped", *FUSED))
    run = tmp_path / "stopped"
    (run / "weights.caffemodel").unlink()
    (run / "snapshots" / "iter_00000008" / "manifest.json").unlink()
    assert "continuing from" in finish(start(tiny, "stopped", *FUSED, "--resume"))
    assert_equal(tmp_path / "straight", run, 8)


def test_a_run_does_not_go_on_in_the_other_form(tiny, tmp_path):
    """Caffe's state holds the momentum of each blob by its number, which is another one there."""
    set_to(tiny, max_iter=4)
    finish(start(tiny, "run", *FUSED))
    (tmp_path / "run" / "weights.caffemodel").unlink()
    process = start(tiny, "run", "--resume")
    words = "was started with densenet.dense_block = fused, now it is plain"
    assert words in process.communicate(timeout=60)[1]
    assert process.returncode == 2


def test_weights_of_a_fused_run_predict_alike_in_all_forms_of_the_net(tiny, tmp_path, run_tool):
    set_to(tiny, max_iter=30)
    finish(start(tiny, "fused", *FUSED))
    set_to(tiny, max_iter=1)
    out = finish(start(tiny, "plain", "--weights", "fused/weights.caffemodel"))
    assert "left at their filler" not in out
    fused, plain = tmp_path / "fused", tmp_path / "plain"
    weights = fused / "weights.caffemodel"
    done = run_tool("convert_weights.py", weights, "--to", "plain", "--out", tmp_path / "w.caffemodel")
    assert done.returncode == 0, done.stderr
    arguments = ("--deploy", fused / "deploy.prototxt", "--weights", weights, "--out", tmp_path / "folded")
    assert run_tool("fold_bn.py", *arguments).returncode == 0
    image = np.random.default_rng(4).integers(0, 256, (50, 70, 3), np.uint8)
    expected = probabilities(plain / "deploy.prototxt", tmp_path / "w.caffemodel", image)
    assert expected.std() > 0.01
    for deploy, file in (
        (plain / "deploy.prototxt", weights),
        (fused / "deploy.prototxt", weights),
        (fused / "deploy.prototxt", tmp_path / "w.caffemodel"),
        (tmp_path / "folded" / "deploy.prototxt", tmp_path / "folded" / "weights.caffemodel"),
    ):
        np.testing.assert_allclose(probabilities(deploy, file, image), expected, rtol=1e-3, atol=1e-5)


def test_a_fused_run_starts_from_plain_weights(tiny, tmp_path):
    set_to(tiny, max_iter=3)
    finish(start(tiny, "plain"))
    set_to(tiny, base_lr=1e-30, max_iter=1)
    out = finish(start(tiny, "fused", *FUSED, "--weights", "plain/weights.caffemodel"))
    assert "left at their filler" not in out
    assert "not in this net" not in out
    plain, fused = (
        plain_view(read_caffemodel(tmp_path / run / "weights.caffemodel")) for run in ("plain", "fused")
    )
    assert list(plain) == list(fused)
    for name, blobs in plain.items():
        if not name.endswith("/bn"):  # statistics move on
            for a, b in zip(blobs, fused[name], strict=True):
                np.testing.assert_array_equal(a, b)
