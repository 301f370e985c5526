"""GPUs as this machine shows them, and what Caffe says of them."""

import pytest

from training.gpus import out_of_memory


@pytest.mark.parametrize(
    "words",
    [
        "F1122 syncedmem.cpp:71] Check failed: error == cudaSuccess (2 vs. 0)  out of memory",
        "F1122 Check failed: status == CUBLAS_STATUS_SUCCESS (3 vs. 0)  CUBLAS_STATUS_ALLOC_FAILED",
        "F1122 (4004 vs. 0)  CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "F1122 (102 vs. 0)  CURAND_STATUS_ALLOCATION_FAILED",
    ],
)
def test_memory_that_is_full_is_known_by_what_each_library_says(words):
    assert out_of_memory(words)


@pytest.mark.parametrize("words", ["", "an illegal memory access was encountered", "CUDNN_STATUS_BAD_PARAM"])
def test_other_errors_are_not_taken_for_it(words):
    assert not out_of_memory(words)
