"""A table of what a net is made of and what it costs, section by section."""

from functools import reduce
from operator import add

from common.numbers import aligned
from prototxt_gen.cost import Cost, beside_blobs, layer_costs
from prototxt_gen.layers import Layer, Net

COLUMNS = ("part", "output", "parameters", "GMAC", "train MiB", "deploy MiB")


def summary(train: Net, deploy: Net, history: int = 1) -> str:
    """Return the table for one experiment: shapes and training memory of `train`, the rest of `deploy`.

    Multiply-adds and deploy memory are those of one image; training memory that of one pass of one rank.
    Behind the parts stands what the processes take beside the blobs, on a CPU; see `beside_blobs`.
    """
    training, deployed = _sections(train), _sections(deploy)
    rows = []
    for title in dict.fromkeys([*training, *deployed]):
        output, cost = training.get(title) or deployed[title]
        one_image = deployed[title][1] if title in deployed else Cost()
        numbers = (cost.parameters, one_image.multiply_adds, cost.training_bytes, one_image.deploy_bytes)
        rows.append((title, output, *numbers))
    beside = [beside_blobs(train, history), beside_blobs(deploy)]
    for titles in zip(*beside, strict=True):
        values = [each[title] for each, title in zip(beside, titles, strict=True)]
        if any(values):
            rows.append((titles[0], "", 0, 0, *values))
    totals = [sum(row[column] for row in rows) for column in range(2, 6)]
    rows.append(("total", "", *totals))
    lines = aligned([COLUMNS, *(_cells(*row) for row in rows)], left=2)
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _sections(net: Net) -> dict[str, tuple[str, Cost]]:
    """Return short title -> (shape of the last top, cost) of each section."""
    costs = layer_costs(net)
    parts: dict[str, list[Layer]] = {}
    for section in net.sections:
        parts.setdefault(section.title.split(":")[0].split(",")[0], []).extend(section.layers)
    return {
        title: (
            " x ".join(map(str, [top.shape for layer in layers for top in layer.tops if top.shape][-1])),
            reduce(add, (costs[layer.name] for layer in layers)),
        )
        for title, layers in parts.items()
    }


def _cells(title: str, output: str, parameters: int, macs: int, train: int, deploy: int) -> tuple[str, ...]:
    memory = (f"{count / 2**20:,.1f}" for count in (train, deploy))
    return title, output, f"{parameters:,}", f"{macs / 1e9:.2f}", *memory
