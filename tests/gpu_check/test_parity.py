"""The same net on two devices, compared: what is the same, and what must not pass."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from gpu_check import parity
from gpu_check.cases import CASES
from gpu_check.devices import CPU


def test_the_distance_is_that_of_the_worst_blob_in_its_own_length():
    theirs = {"small": np.array([3.0, 4.0]), "large": np.array([300.0, 400.0])}
    ours = {"small": np.array([3.0, 4.5]), "large": np.array([301.0, 400.0])}
    assert parity.compare(ours, theirs) == parity.Distance("small", 0.1)


def test_no_number_is_never_within_a_tolerance():
    theirs = {"a": np.ones(3), "b": np.ones(3)}
    distance = parity.compare({"a": np.array([1, np.nan, 1]), "b": np.ones(3)}, theirs)
    assert distance.blob == "a"
    assert not distance.within(1e9)


def test_rounding_in_a_blob_that_is_almost_zero_does_not_count():
    theirs = {"bias": np.full(4, 1e-12), "weights": np.ones(4)}
    assert parity.compare({"bias": np.full(4, -1e-12), "weights": np.ones(4)}, theirs).within(1e-5)


def test_blobs_that_one_side_lacks_are_an_error():
    with pytest.raises(ValueError, match="other blobs"):
        parity.compare({"a": np.ones(1)}, {"b": np.ones(1)})


def test_the_distance_of_all_blobs_is_that_of_one_long_vector():
    theirs = {"a": np.array([3.0]), "b": np.array([4.0])}
    assert parity.compare_whole({"b": np.array([4.0]), "a": np.array([2.5])}, theirs).value == 0.1


@pytest.mark.caffe
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_runs_and_the_cpu_agrees_with_itself(case):
    if case.type not in parity.layer_types():
        pytest.skip(f"this Caffe has no layer {case.type}")
    blobs = parity.run_layer(case, CPU)
    assert parity.compare(blobs, parity.run_layer(case, CPU)).value == 0
    gradients = [name for name in blobs if name.startswith("gradient of x")]
    assert len(gradients) == len(case.shapes) - bool(case.classes)
    assert all(np.any(blob) for name, blob in blobs.items() if "x" in name or name.startswith("y"))


@pytest.mark.caffe
def test_a_layer_that_computes_something_else_is_found():
    power = next(case for case in CASES if case.name == "Power")
    other = replace(power, parameters="power_param { scale: 0.01701 }")
    distance = parity.compare(parity.run_layer(other, CPU), parity.run_layer(power, CPU))
    assert not distance.within(parity.LAYER_TOLERANCE)


@pytest.mark.caffe
def test_fused_layers_answer_as_plain_ones_and_another_input_is_found(case, tmp_path):
    plain, fused = (parity.net_answer(case, form, CPU) for form in ("plain", "fused"))
    assert parity.compare(fused.outputs, plain.outputs).within(parity.OUTPUT_TOLERANCE)
    assert parity.compare_whole(fused.gradients, plain.gradients).within(parity.ALL_GRADIENTS_TOLERANCE)
    shutil.copytree(case.folder, tmp_path / "other")
    other = replace(case, folder=tmp_path / "other")
    inputs = case.inputs()
    inputs["land_data"][0, 0, 16, 16] += 50
    np.savez(other.folder / "inputs.npz", **inputs)
    changed = parity.net_answer(other, "fused", CPU)
    assert not parity.compare(changed.outputs, plain.outputs).within(parity.OUTPUT_TOLERANCE)
    assert parity.key(other) != parity.key(case)


@pytest.mark.caffe
def test_the_same_step_twice_is_equal_and_a_different_one_is_named(case, monkeypatch):
    assert parity.same_bits(case, "fused", CPU) == []
    answers = [
        parity.NetOutput({"loss": np.ones(2)}, {"w": np.full(2, value)}) for value in (1.0, 1.0 + 1e-15)
    ]
    monkeypatch.setattr(parity, "net_answer", lambda *_: answers.pop())
    assert parity.same_bits(case, "fused", CPU) == ["w"]


def test_of_a_large_gradient_the_same_places_are_compared():
    values = np.arange(10000.0).reshape(100, 100)
    assert parity._sample(values).size == parity.SAMPLE
    assert np.array_equal(parity._sample(values), parity._sample(values))
    assert np.array_equal(parity._sample(values[0]), values[0])


def test_an_answer_comes_back_from_its_file_and_not_for_another_net(tmp_path):
    answer = parity.NetOutput({"land/score": np.ones((1, 2, 3, 3), np.float32)}, {"conv1[0]": np.arange(4.0)})
    answer.save(tmp_path / "a.npz", "this net")
    again = parity.NetOutput.load(tmp_path / "a.npz", "this net")
    assert np.array_equal(again.outputs["land/score"], answer.outputs["land/score"])
    assert np.array_equal(again.gradients["conv1[0]"], answer.gradients["conv1[0]"])
    assert parity.NetOutput.load(tmp_path / "a.npz", "another net") is None
    assert parity.NetOutput.load(tmp_path / "none.npz", "this net") is None
