"""Scenes are shared so that no rank has much more to do than another; mistakes reach all ranks."""

import numpy as np
import pytest

from common.errors import DataError, DFCNetError
from inference.prediction import PredictionSummary, on_all_ranks
from inference.process_group import ProcessGroup, assign_scenes, set_threads


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_each_scene_is_shared_to_one_rank(ranks):
    sizes = np.random.default_rng(ranks).integers(0, 1000, 20).tolist()
    parts = assign_scenes(sizes, ranks)
    assert len(parts) == ranks
    assert sorted(number for part in parts for number in part) == list(range(20))
    loads = [sum(sizes[number] for number in part) for part in parts]
    assert max(loads) - min(loads) <= max(sizes)


def test_a_large_scene_keeps_a_rank_to_itself():
    assert assign_scenes([1, 9, 1, 1, 1], 2) == [[1], [0, 2, 3, 4]]
    assert assign_scenes([5, 5], 3) == [[0], [1], []]
    assert assign_scenes([0, 0, 0, 0], 2) == [[0, 2], [1, 3]]  # sizes that no header tells


class Three(ProcessGroup):
    """Rank `rank` of three, whose others had `outcomes`."""

    def __init__(self, rank: int, others: list) -> None:
        self.rank, self.size, self._comm, self._others = rank, 3, None, others

    def gather(self, outcome):
        return [outcome, *self._others]


def test_what_all_did_is_added_and_the_longest_time_counts(tmp_path):
    others = [(PredictionSummary(2, 20, 1, 3.5, ["a"]), None), (PredictionSummary(1, 5, 1, 0.5, []), None)]
    done = on_all_ranks(
        Three(0, others), lambda: PredictionSummary(1, 10, 1, 2.0, ["b"]), tmp_path, pytest.fail
    )
    assert done == PredictionSummary(4, 35, 1, 3.5, ["b", "a"])


def test_a_mistake_in_one_rank_is_raised_in_all_and_told_once(tmp_path):
    error = DataError("a", "b", "c")
    with pytest.raises(DataError, match="a: b; c"):
        on_all_ranks(
            Three(0, [(PredictionSummary(), error), (PredictionSummary(), error)]),
            PredictionSummary,
            tmp_path,
            pytest.fail,
        )


def test_no_thread_is_no_number_of_threads(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with pytest.raises(DFCNetError, match="--threads: is 0"):
        set_threads(0)
