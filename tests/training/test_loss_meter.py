"""Losses by task: means over the passes since they were last taken, of the tasks that a run has."""

from types import SimpleNamespace

import pytest

from training.loss_meter import LossMeter


class FakeNet:
    """A net of one layer, with the losses of two tasks and a blob whose name only looks like one."""

    outputs = ("land_loss", "land_loss_loss", "focal_loss")
    layers = (SimpleNamespace(type="SoftmaxWithLoss"),)

    def before_forward(self, call) -> None:
        pass

    def after_forward(self, call) -> None:
        self.after = call

    def forward(self, *values: float) -> None:
        self.blobs = {
            name: SimpleNamespace(data=value) for name, value in zip(self.outputs, values, strict=True)
        }
        self.after(0)


def test_the_losses_are_those_of_the_tasks_and_of_no_other_blob():
    net = FakeNet()
    meter = LossMeter(net, ["land", "land_loss"])
    net.forward(1.0, 5.0, 100.0)
    net.forward(2.0, 7.0, 100.0)
    assert meter.take().task == {"land": pytest.approx(1.5), "land_loss": pytest.approx(6.0)}
    net.forward(4.0, 8.0, 100.0)
    assert meter.take().task == {"land": pytest.approx(4.0), "land_loss": pytest.approx(8.0)}
