"""What a deploy prototxt takes and gives, read before Caffe builds it.

Caffe ends the process at a prototxt it cannot use; read with protobuf alone, the same mistake is one
line with the file's name.
"""

from dataclasses import dataclass, field
from pathlib import Path

from common.errors import NetError
from prototxt_gen.input_comment import read_input_comment
from prototxt_gen.models import OUTPUT_SUFFIX
from prototxt_gen.prototxt import net_inputs, net_outputs, read_net
from prototxt_gen.shapes import is_input_size, nearest_input_sizes

INPUT = "data"


@dataclass(frozen=True)
class Deploy:
    """A deploy net: its file, the side of its square input in pixels, its output blobs and layer types.

    `channels` are those of its input; `name` is the experiment's, empty where the file has none;
    `preprocessing` is (bands, mean, scale) of its input as its comments say, None where they do not; `net` is
    the NetParameter.
    """

    path: Path
    side: int
    outputs: tuple[str, ...]
    layer_types: frozenset[str]
    channels: int = 3
    name: str = ""
    preprocessing: tuple[tuple[str, ...], tuple[float, ...], float] | None = None
    net: object = field(default=None, repr=False, compare=False)

    @property
    def tasks(self) -> list[str]:
        """The tasks that it answers for."""
        return [
            output.removesuffix(OUTPUT_SUFFIX) for output in self.outputs if output.endswith(OUTPUT_SUFFIX)
        ]

    def tile_side(self, side: int | None) -> int:
        """Return the side of tiles: `side`, which must be 32k+1, or where it is None the prototxt's own."""
        return self.side if side is None else check_input_size("tile", side)

    def output_for(self, task: str) -> str:
        """Return the blob of `task`'s probabilities, `<task>_prob`; NetError where the net has none."""
        name = f"{task}{OUTPUT_SUFFIX}"
        if name not in self.outputs:
            raise NetError(
                self.path,
                f"has no output {name} (its outputs: {', '.join(self.outputs) or 'none'})",
                "ask for another --task, or emit a deploy net that has this one",
            )
        return name

    def check_answer(self, output: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        """Raise NetError where a net's answer to tiles does not have the expected shape (N, C, S, S)."""
        if shape != expected:
            fact = f"answers {output} {shape} to a tile of {expected[-1]} x {expected[-1]}"
            raise NetError(self.path, fact, "emit a deploy net whose output has the input's size")


def check_input_size(where: object, side: int) -> int:
    """Return `side` if it is 32k+1, the sizes at which the halved maps and Interp agree; else NetError."""
    if not is_input_size(side):
        raise NetError(where, f"tile side {side} is not 32k+1", f"take {nearest_input_sizes(side)}")
    return side


def read_deploy(path: Path) -> Deploy:
    """Read and check a deploy prototxt; NetError where it is missing, broken or has another input."""
    path = Path(path)
    net = read_net(path)
    types = frozenset(layer.type for layer in net.layer)
    preprocessing = read_input_comment(path.read_text(encoding="utf-8-sig", errors="replace"))
    channels, side = _input_shape(path, net)
    return Deploy(path, side, net_outputs(net), types, channels, net.name, preprocessing, net)


def _input_shape(path: Path, net) -> tuple[int, int]:
    """Return the channels and the side of the input."""
    shapes = net_inputs(net)
    shape = shapes.get(INPUT)
    if shape is None or len(shape) != 4 or shape[2] != shape[3]:
        inputs = ", ".join(f"{name} {list(dim)}" for name, dim in shapes.items()) or "none"
        raise NetError(
            path, f"has no input {INPUT} of shape 1 x C x S x S (found: {inputs})", "give a deploy prototxt"
        )
    return shape[1], check_input_size(path, shape[2])
