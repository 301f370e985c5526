#!/usr/bin/env python
"""Speed of single convolutions on the CPU: Caffe's own engine against the one that nets take by default.

The nets' commonest shapes, one image, fp32. Milliseconds are medians over rounds in which both engines run
once, so that other load on the machine hits both. "at TEST" is the forward pass where nothing is learnt.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from machine import describe_machine

from common.files import memory_file
from training.pycaffe import import_caffe

ENGINES = ("CAFFE", "DEFAULT")
TIMED = ("forward", "at TEST", "input's gradient", "weights' gradient")


@dataclass(frozen=True)
class Convolution:
    """A square convolution: kernel, stride, channels in and out, side of the input in pixels."""

    kernel: int
    stride: int
    channels: int
    outputs: int
    side: int

    def __str__(self) -> str:
        """Return the words of the table's first column."""
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        return f"{self.kernel}x{self.kernel}{stride}, {self.channels} to {self.outputs}, at {self.side}"

    def prototxt(self, engine: str, learn: bool, down: bool) -> str:
        """Return a net of this convolution alone, whose backward pass is for its weights, or its input."""
        shape = f"shape {{ dim: 1 dim: {self.channels} dim: {self.side} dim: {self.side} }}"
        kind, field = ("Parameter", "parameter_param") if down else ("Input", "input_param")
        loss = "loss_weight: 1" if learn or down else ""
        return f"""
            name: "convolution"
            layer {{ name: "data" type: "{kind}" top: "data" {field} {{ {shape} }} }}
            layer {{ name: "y" type: "Convolution" bottom: "data" top: "y" {loss}
              param {{ lr_mult: {int(learn)} }}
              convolution_param {{ num_output: {self.outputs} kernel_size: {self.kernel}
                pad: {self.kernel // 2} stride: {self.stride} bias_term: false engine: {engine}
                weight_filler {{ type: "msra" }} }} }}"""


SHAPES = (
    Convolution(7, 2, 3, 64, 513),
    *(Convolution(3, 1, 128, 32, side) for side in (257, 129, 65, 33)),
    Convolution(3, 1, 256, 256, 257),
    Convolution(1, 1, 512, 128, 129),
    Convolution(1, 1, 448, 256, 257),
)


def main() -> None:
    """Measure, and print a table in Markdown: for each kind of time both engines, Caffe's own first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="repetitions, of which the median counts")
    rounds = parser.parse_args().rounds
    if rounds < 1:
        parser.error(f"--rounds {rounds}: give 1 or more")
    caffe = import_caffe()
    caffe.set_mode_cpu()
    machine = describe_machine()
    print(f"milliseconds, Caffe's own engine -> default; {machine['cores']} cores of {machine['cpu']}")
    print(f"| convolution | {' | '.join(TIMED)} |\n| --- |{' ---: |' * len(TIMED)}")
    for shape in SHAPES:
        cells = [_cell(dict(_passes(caffe, shape, kind)), rounds) for kind in TIMED]
        print(f"| {shape} | {' | '.join(cells)} |", flush=True)


def _passes(caffe, shape: Convolution, kind: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield for each engine the pass that `kind` names, warmed up."""
    learn, down = kind == "weights' gradient", kind == "input's gradient"
    for engine in ENGINES:
        with memory_file(shape.prototxt(engine, learn, down)) as path:
            net = caffe.Net(path, caffe.TEST if kind == "at TEST" else caffe.TRAIN)
        for name, blob in net.blobs.items():
            blob.data[...] = 0.5
            blob.diff[...] = 0.5 if name == "y" else 0
        run = net.backward if learn or down else net.forward
        net.forward()
        run()
        yield engine, run


def _cell(passes: dict[str, Callable[[], object]], rounds: int) -> str:
    seconds: dict[str, list[float]] = {engine: [] for engine in passes}
    for _ in range(rounds):
        for engine, run in passes.items():
            begin = time.perf_counter()
            run()
            seconds[engine].append(time.perf_counter() - begin)
    return " -> ".join(f"{1000 * statistics.median(taken):.3g}" for taken in seconds.values())


if __name__ == "__main__":
    main()
