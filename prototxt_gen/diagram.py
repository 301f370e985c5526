"""A net as a picture shows it: DenseBlocks, sums and tasks, and what lies on the way between them.

Read from the plain layers of a built net, so that the picture cannot disagree with the prototxt: a node is
one layer or the layers of one block, an edge carries the convolutions, poolings and Interps between.
"""

from dataclasses import dataclass, field

from prototxt_gen.blocks import BLOCKS, DENSE_BLOCK, INTEGRATION, TASK
from prototxt_gen.layers import Layer, Net

# Kinds of nodes. Names of nodes have a blank or a capital where a task could have the same.
IMAGE, CONCAT, STEM, BLOCK, SUM = "input image", "batch concat", "Stem", "block", "sum"
SLICE, OUTPUT = "batch slice", "output"
HEAD_STEPS = 3  # a task's own: 3x3 convolution, 1x1 score, Interp to the crop


@dataclass
class Node:
    """A box of the picture, with the channels and the height (= width) of its result."""

    name: str
    kind: str
    channels: int = 0
    size: int = 0
    units: int = 0  # layer units of a DenseBlock: its 3x3 convolutions
    blocks: tuple[int, ...] = ()  # the block's number, or those that a sum holds
    operation: str = ""  # of a sum, or of what else integrates blocks: "Eltwise sum", "Concat"


@dataclass(frozen=True)
class Edge:
    """An arrow; `steps` such as ("1x1, 256", "x2"): a convolution to 256 channels, then Interp."""

    source: str
    target: str
    steps: tuple[str, ...] = ()


@dataclass
class Diagram:
    """Nodes by name and edges, both in the order of the net."""

    name: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    @property
    def crop(self) -> int:
        """Height and width of the images."""
        return max(node.size for node in self.nodes.values())

    def of_kind(self, *kinds: str) -> list[Node]:
        """Return the nodes of some kinds in the order of the net."""
        return [node for node in self.nodes.values() if node.kind in kinds]

    def between(self, source: str, target: str) -> list[tuple[Node, Node, Edge]]:
        """Return the edges from a node of kind `source` to one of kind `target`, with both ends."""
        ends = [(self.nodes[edge.source], self.nodes[edge.target], edge) for edge in self.edges]
        return [(a, b, edge) for a, b, edge in ends if (a.kind, b.kind) == (source, target)]

    def skips(self) -> list[Edge]:
        """Return the skip connections: edges that bring a result unchanged to a later DenseBlock."""
        return [edge for edge in self.edges if self.nodes[edge.target].kind == BLOCK and not edge.steps]

    def deepest(self) -> tuple[Node, tuple[str, ...]]:
        """Return the last node that the tasks share, and the steps from it until they part."""
        edge = next(edge for edge in self.edges if self.nodes[edge.target].kind == OUTPUT)
        if edge.source == SLICE:
            edge = next(edge for edge in self.edges if edge.target == SLICE)
            return self.nodes[edge.source], edge.steps
        return self.nodes[edge.source], edge.steps[:-HEAD_STEPS]

    def head(self, task: str) -> tuple[str, ...]:
        """Return the steps of a task's own layers."""
        return next(edge.steps[-HEAD_STEPS:] for edge in self.edges if edge.target == task)

    def reduction(self, node: Node) -> int:
        """Return how many times smaller than the crop a node's result is: 1, 2, 4, ..."""
        return (self.crop - 1) // (node.size - 1)


def read_diagram(net: Net) -> Diagram:
    """Return the nodes and edges of a net that `prototxt_gen.models.build` returned, of either phase."""
    diagram = Diagram(net.name)
    origin: dict[str, tuple[str, tuple[str, ...]]] = {}  # blob -> the node it comes from, steps since
    read = {x.name for layer in net.plain.layers for x in layer.bottoms}
    for layer in net.plain.layers:
        sources = [diagram.nodes[origin[x.name][0]] for x in layer.bottoms if x.name in origin]
        name, kind = _node(layer, sources, layer.tops[0].name in read)
        if not kind:
            for x in layer.bottoms:
                source, steps = origin[x.name]
                origin[layer.tops[0].name] = source, steps + _step(layer)
            continue
        node = diagram.nodes.setdefault(name, Node(name, kind))
        _update(node, layer)
        for source, steps in (origin[x.name] for x in layer.bottoms if x.name in origin):
            edge = Edge(source, name, steps + (_step(layer) if kind == STEM else ()))
            if source != name and edge not in diagram.edges:
                diagram.edges.append(edge)
                blocks = diagram.nodes[source].blocks if kind == SUM else ()
                node.blocks = tuple(sorted(node.blocks + blocks))
        images = layer.tops[:1] if kind == IMAGE else layer.tops  # and not their labels
        origin |= {top.name: (name, ()) for top in images}
    return diagram


def _node(layer: Layer, sources: list[Node], is_read: bool) -> tuple[str, str]:
    """Return name and kind of the node that a layer belongs to, or ("", "") for a step on the way."""
    task, block = layer.group(TASK), layer.group(DENSE_BLOCK)
    node = "", ""
    if block:
        node = f"DenseBlock {BLOCKS[block.name]}", BLOCK
    elif not is_read:
        node = task.name, OUTPUT
    elif layer.type == "Input":
        node = IMAGE, IMAGE
    elif layer.type == "Slice":  # of a task's records into image and label, or of the joint batch
        node = (f"{task.name} image", IMAGE) if task else (SLICE, SLICE)
    elif layer.group(INTEGRATION) and layer.type != "Interp":
        blocks = [block for source in sources for block in source.blocks]
        node = f"({min(blocks)},{max(blocks)})", SUM
    elif layer.type == "Concat":
        node = CONCAT, CONCAT
    elif layer.type == "Convolution" and sources[0].kind in (IMAGE, CONCAT):
        node = STEM, STEM
    return node


def _update(node: Node, layer: Layer) -> None:
    """Take over what one of a node's layers says: its last layer gives the result's shape."""
    result = layer.bottoms[0] if node.kind == OUTPUT else layer.tops[0]
    node.channels, node.size = result.channels, result.size
    if node.kind == BLOCK:
        node.blocks = (BLOCKS[layer.group(DENSE_BLOCK).name],)
        node.units += sum(shape[2:] == (3, 3) for shape in layer.params)

    if node.kind == SUM and not node.operation:
        param = dict(dict(layer.fields).get("eltwise_param", ()))
        node.operation = f"{layer.type} {param.get('operation', '').lower()}".strip()


def _step(layer: Layer) -> tuple[str, ...]:
    """Return what a picture says of a layer on the way; BatchNorm, Scale, ReLU and Power go unsaid."""
    match layer.type:
        case "Convolution":
            channels, _, kernel, _ = layer.params[0]
            return (f"{kernel}x{kernel}, {channels}",)
        case "Pooling":
            return ("max pool" if ("pool", "MAX") in layer.fields[0][1] else "avg pool",)
        case "Interp":
            return (f"x{(layer.tops[0].size - 1) // (layer.bottoms[0].size - 1)}",)
    return ()
