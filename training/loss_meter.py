"""What one update's forward passes say: the mean loss per task, and the time spent waiting for data."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from prototxt_gen.models import loss_of


@dataclass(frozen=True)
class IterationLosses:
    """Mean loss of each task over the passes of an update, and the seconds that Data layers took."""

    task: dict[str, float]
    data_wait: float


class LossMeter:
    """Listens to a caffe.Net's forward passes; `take` reads what has come together and starts over.

    A Data layer hands over a batch that was read ahead: the time it takes is time spent waiting.
    """

    def __init__(self, net, tasks: Sequence[str]) -> None:
        self._net = net
        self._losses = {task: loss_of(task) for task in tasks}
        self._data = {i for i, layer in enumerate(net.layers) if layer.type == "Data"}
        self._last = len(net.layers) - 1
        self._clear()
        net.before_forward(self._before)
        net.after_forward(self._after)

    def _clear(self) -> None:
        self._passes, self._wait = 0, 0.0
        self._sums = dict.fromkeys(self._losses, 0.0)

    def _before(self, layer: int) -> None:
        if layer in self._data:
            self._since = time.monotonic()

    def _after(self, layer: int) -> None:
        if layer in self._data:
            self._wait += time.monotonic() - self._since
        if layer == self._last:
            self._passes += 1
            for task, name in self._losses.items():
                self._sums[task] += float(self._net.blobs[name].data)

    def take(self) -> IterationLosses:
        """Return the losses since the last call."""
        passes = max(self._passes, 1)
        losses = IterationLosses({task: total / passes for task, total in self._sums.items()}, self._wait)
        self._clear()
        return losses
